"""What a recipient's mail reader does with a tracked message: it shows the pixel and follows the link."""

import json
import re
import urllib.request
from collections.abc import Mapping
from email import message_from_bytes
from http.client import HTTPConnection
from typing import Any, NamedTuple

from standalone.demo.sending import API, SENDING_DOMAIN, TIMEOUT_S, NotSent

HOST = f"track.{SENDING_DOMAIN}"
TARGET = "https://shop.example.com/orders/17?from=mail"
RECIPIENT = "reader@example.net"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"

OFFER: Mapping[str, object] = {
    "to": [RECIPIENT],
    "from": f"noreply@{SENDING_DOMAIN}",
    "subject": "Your order",
    "html_body": f'<html><body><p><a href="{TARGET}">See your order</a></p></body></html>',
}


class Marks(NamedTuple):
    """Paths in a delivered message."""

    link: str
    pixel: str


def marks_in(raw: bytes) -> Marks | None:
    """Return what tracking put into a delivered message; None if it is not there."""
    parts = message_from_bytes(raw).walk()
    shown = [part.get_payload(decode=True) for part in parts if part.get_content_type() == "text/html"]
    html = b"".join(content for content in shown if isinstance(content, bytes))
    start = rf"https?://{re.escape(HOST)}(?::\d+)?".encode()
    link = re.search(rb'<a href="' + start + rb'(/c/[\w-]+)"', html)
    pixel = re.search(rb'<img src="' + start + rb'(/o/[\w-]+)"', html)
    return None if link is None or pixel is None else Marks(link[1].decode(), pixel[1].decode())


def visit(port: int, path: str) -> tuple[int, str]:
    """Ask the HTTP port for a path under the tracking domain; return status and where it leads."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Host": HOST, "User-Agent": BROWSER})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["location"] or ""
    finally:
        connection.close()


def visits(api: API) -> list[Mapping[str, Any]]:
    """Return opens and clicks in the event log.

    Raises:
        NotSent: the API did not answer.
    """
    request = urllib.request.Request(  # noqa: S310  # a loopback URL of our own
        f"{api.url}/api/v2/events?event=MessageOpened,MessageLinkClicked", headers={"X-Server-API-Key": api.key}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            return list(json.loads(reply.read())["events"])
    except (OSError, ValueError, KeyError) as exc:
        raise NotSent(f"events: {exc}") from exc
