"""How parameters travel: the forms that Postal's clients use.

As Postal (legacy_api/base_controller.rb, api_params): a body whose content type
starts with ``application/json``, merged with the query string; otherwise the one
form or query field ``params``, which holds JSON; otherwise no parameters at all.
Where body and query name the same thing, the query counts, as in Rails
(ActionDispatch::Http::Parameters).
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import NoReturn
from urllib.parse import parse_qsl

from fastapi import Request

from functions.api.envelope import off_loop
from functions.api.errors import ParameterProblem, Problem
from functions.api.large_data import lift, put_back
from functions.api.large_requests import LARGE_BYTES, Holding
from functions.api.multipart_form import multipart_fields

MAX_FORM_FIELDS = 1000

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request asks for."""

    values: Mapping[str, object]
    """As JSON gave them, without lone surrogates, so that every text can be encoded.

    Of a large request, ``data`` may be the bytes that its base64 encodes.
    """

    digest: str
    """SHA-256 in hex of the parameters as they came, whatever form carried them."""


async def read_parameters(request: Request, *, max_bytes: int, holding: Holding) -> Parameters:
    """Return the parameters of a request.

    Raises:
        Problem: the body is too large (HTTP 200 as every outcome), or no form of
            ours (HTTP 400, as Rails answers malformed JSON), or comes when too many
            large ones do.
    """
    query = request.scope["query_string"].decode("latin-1")
    content_type = request.headers.get("content-type", "").lower()
    body = await _body(request, max_bytes, holding)
    if content_type.startswith("application/json"):
        return await off_loop(len(body), json_parameters, body, query)
    text = _params(query.encode("latin-1"))
    if text is None and content_type.startswith("application/x-www-form-urlencoded"):
        text = await off_loop(len(body), _params, body)
    elif text is None and content_type.startswith("multipart/form-data"):
        text = await off_loop(len(body), _multipart_params, body, request.headers["content-type"])
    return await off_loop(len(text or ""), _from_text, text or "")


async def _body(request: Request, max_bytes: int, holding: Holding) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,15}", declared) or int(declared) > max_bytes:
        _too_large(max_bytes)
    # Its value is the buffer itself, no copy.
    gathered = BytesIO()
    size = 0
    more = True
    try:
        async with asyncio.timeout(None) as patience:
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ParameterProblem("The request ended before its body was complete", http_status=400)
                size += len(message.get("body", b""))
                if size > max_bytes:
                    _too_large(max_bytes)
                if size > LARGE_BYTES and not holding.size_bytes:
                    await holding.take(int(declared) or max_bytes)
                    patience.reschedule(asyncio.get_running_loop().time() + holding.longest_s)
                gathered.write(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError as exc:
        raise ParameterProblem("The request came too slowly", http_status=408) from exc
    return gathered.getvalue()


def _too_large(max_bytes: int) -> NoReturn:
    raise Problem("MessageTooLarge", f"The request is larger than {max_bytes} bytes, the most we accept")


def json_parameters(body: bytes, query: str = "") -> Parameters:
    """Return the parameters of a JSON body.

    Raises:
        ParameterProblem: it cannot be read.
    """
    digest = _digest(query.encode("latin-1"), body)
    values = _large_values(body, digest) if len(body) > LARGE_BYTES else None
    if values is None:
        values = _parsed(_decoded(body)) if body and not body.isspace() else {}
    return Parameters({**values, **_query_values(query)}, digest)


def _large_values(body: bytes, digest: str) -> dict[str, object] | None:
    """Return the JSON object without ever having its large base64 as text; None if that is not to be had."""
    rest, contents = lift(body, digest)
    if not contents:
        return None
    values = _parsed(_decoded(rest))
    return values if put_back(values, contents) else None


def _from_text(text: str) -> Parameters:
    return Parameters(_parsed(text) if text.strip() else {}, _digest(b"", text.encode("utf-8", "replace")))


def _digest(query: bytes, body: bytes) -> str:
    digest = hashlib.sha256(query + b"\0")
    digest.update(body)
    return digest.hexdigest()


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _unreadable("it is not UTF-8") from exc


def _parsed(text: str) -> dict[str, object]:
    """Return the JSON object; the last of several equal names counts, as in Ruby."""
    if _SURROGATE.search(text):
        # RFC 8259 §8.2: half of a surrogate pair is no character; it could be neither stored nor sent.
        text = _ESCAPE.sub(lambda found: r"\ufffd" if found[2] else found[0], text)
    try:
        parsed = json.loads(text, parse_constant=_no_number)
    except RecursionError as exc:
        raise _unreadable("it is nested too deeply") from exc
    except ValueError as exc:
        raise _unreadable("it is malformed") from exc
    if not isinstance(parsed, dict):
        raise _unreadable("it is not an object")
    return parsed


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259 §6)")


def _unreadable(reason: str) -> ParameterProblem:
    return ParameterProblem(f"The JSON with the parameters could not be read: {reason}", http_status=400)


def _query_values(query: str) -> dict[str, object]:
    """Return the query's fields; a name that ends with ``[]`` gathers a list, as in Rails."""
    values: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    for name, value in _fields(query.encode("latin-1")):
        if name.endswith("[]"):
            lists.setdefault(name[:-2], []).append(value)
        else:
            values[name] = value
    return {**values, **lists}


def _params(form: bytes) -> str | None:
    found = [value for name, value in _fields(form) if name == "params"]
    return found[-1] if found else None


def _fields(form: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(form.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError as exc:
        raise ParameterProblem("The form has too many fields", http_status=400) from exc


def _multipart_params(body: bytes, content_type: str) -> str | None:
    found = [value for name, value in multipart_fields(body, content_type) if name == "params"]
    return found[-1].decode("utf-8", "replace") if found else None
