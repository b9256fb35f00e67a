"""rspamd, asked by ``POST /checkv2`` (rspamd.com/doc/developers/protocol.html).

The score is rspamd's own, not the sum of its symbols as in Postal: rspamd limits what a group of
symbols adds, and a mail that it rules out at once has a score and no symbol that carries it.
What it would do (``action``) does not count: the server's thresholds decide.
"""

import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from shared.domain.headers import on_one_line
from shared.domain.inspection import MAX_CHECKS, Check, Inspection, bounded, check
from smtp_node.scan.scanner import GARBAGE, REFUSED, UNREACHABLE, ScanFailed, ScannedMail

MAX_ANSWER_BYTES = 1024 * 1024
MAX_BYTES = 50 * 1024 * 1024
"""rspamd's own limit (options, max_message)."""


@dataclass(frozen=True, slots=True)
class Rspamd:
    """Asks one rspamd about spam."""

    url: str
    """Without the path of the command."""

    timeout: timedelta
    password: str = field(default="", repr=False)
    name: str = "rspamd"
    max_bytes: int = MAX_BYTES

    async def scan(self, mail: ScannedMail) -> Inspection:
        """Return its score and the symbols that it found."""
        headers = request_headers(mail, self.password)
        try:
            # A session of its own: what it costs is little beside a scan, and nothing is left to be closed.
            async with (
                aiohttp.ClientSession(trust_env=False, auto_decompress=False) as session,
                session.post(
                    f"{self.url}/checkv2", data=_pieces(mail), headers=headers, allow_redirects=False
                ) as answer,
            ):
                if answer.status != 200:
                    raise ScanFailed(REFUSED, f"rspamd answered {answer.status}")
                return read_answer(await _body(answer))
        except aiohttp.ClientError as exc:
            raise ScanFailed(UNREACHABLE, type(exc).__name__) from exc


def request_headers(mail: ScannedMail, password: str) -> Sequence[tuple[str, str]]:
    """Return what rspamd is told beside the mail; a user makes it skip what it checks of strangers."""
    told = {
        "From": mail.mail_from,
        "IP": mail.address,
        "Hostname": mail.name,
        "Helo": mail.helo,
        "Queue-Id": mail.queue_id,
        "User": mail.sent_by,
        "Password": password,
    }
    return [
        *((name, on_one_line(value)) for name, value in told.items() if value),
        *(("Rcpt", on_one_line(each)) for each in mail.rcpt_to),
        ("Content-Length", str(mail.size_bytes)),
        ("Accept-Encoding", "identity"),
    ]


async def _pieces(mail: ScannedMail) -> AsyncIterator[memoryview]:
    for piece in mail.pieces():
        yield piece


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise ScanFailed(GARBAGE, f"an answer of over {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def read_answer(body: bytes) -> Inspection:
    """Return what a whole answer says.

    Raises:
        ScanFailed: it is no answer.
    """
    try:
        # Numbers as floats: one of a million digits is infinite then, and takes no time.
        said = json.loads(body, parse_int=float)
    except (ValueError, RecursionError) as exc:
        raise ScanFailed(GARBAGE, "not JSON") from exc
    score = _number(said.get("score")) if isinstance(said, dict) else None
    if score is None:
        raise ScanFailed(GARBAGE, "no score")
    return Inspection(bounded(score), _checks(said.get("symbols")))


# Any: rspamd's JSON, checked here.
def _checks(symbols: Any) -> Sequence[Check]:  # noqa: ANN401
    if not isinstance(symbols, dict):
        return ()
    found = [
        check(name, score, each["description"] if isinstance(each.get("description"), str) else "")
        for name, each in symbols.items()
        if isinstance(each, dict) and (score := _number(each.get("score"))) is not None
    ]
    return tuple(sorted(found, key=lambda each: -abs(each.score))[:MAX_CHECKS])


def _number(value: Any) -> float | None:  # noqa: ANN401
    return value if isinstance(value, float) and math.isfinite(value) else None
