"""A function URL's event as these functions see it ("Invoking function URLs", Lambda developer guide, payload 2.0)."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_BODY_BYTES = 16 * 1024
MAX_USER_AGENT = 300

CLOUDFRONT = "cloudfront"
"""The proxy whose word on host and viewer counts, because nobody else can call the function (AuthType AWS_IAM)."""

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?\Z")
_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}\Z")


class Request(NamedTuple):
    """One request; every field is whatever the client sent, but bounded."""

    method: str
    path: str
    host: str
    """Lower case, without port; empty if it is no host name."""

    ip: str
    """Of the client, as far as that is known; empty if not."""

    user_agent: str
    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes


def read_request(event: Mapping[str, Any], *, proxy: str = "") -> Request:
    """Return the request of an event; never fails on what a client sent.

    Args:
        event: of a function URL.
        proxy: ``CLOUDFRONT`` where it stands before the function, else empty.
    """
    headers: Mapping[str, str] = event.get("headers") or {}
    http = event["requestContext"]["http"]
    host, ip = headers.get("host", ""), str(http.get("sourceIp", ""))
    if proxy == CLOUDFRONT:
        # The edge stack's viewer function copies Host; CloudFront adds the other ("address:port").
        host = headers.get("x-forwarded-host", host)
        ip = headers.get("cloudfront-viewer-address", ip + ":").rpartition(":")[0]
    host = host.lower().partition(":")[0].rstrip(".")
    ip = ip.lower()
    return Request(
        method=str(http["method"]),
        path=str(event.get("rawPath", "")),
        host=host if _HOST.match(host) else "",
        ip=ip if _ADDRESS.match(ip) else "",
        user_agent=_printable(headers.get("user-agent", ""))[:MAX_USER_AGENT],
        headers=headers,
        body=_body(event),
    )


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)[:MAX_BODY_BYTES].encode("utf-8", "replace")
    try:
        return base64.b64decode(body[: MAX_BODY_BYTES // 3 * 4])
    except (binascii.Error, ValueError):
        return b""


def _printable(text: str) -> str:
    return "".join(char for char in text[: 4 * MAX_USER_AGENT] if char.isprintable())
