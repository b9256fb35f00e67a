"""The parts of a mail that reports are made of, with bounds on all of them.

Everything is read leniently and in linear time: real bounces have broken MIME, no
MIME, or text in any charset.  What lies beyond the bounds is left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape

from shared.domain.headers import with_crlf
from shared.domain.mime_parameters import parse
from shared.domain.mime_reading import Leaf, header_texts, leaves

MAX_TEXT = 64 * 1024
"""Characters of text that are looked at, all text parts together."""

MAX_LINES = 1500
MAX_LINE = 2000
MAX_RETURNED_BYTES = 64 * 1024
MAX_REPORT_BYTES = 256 * 1024
MAX_HEADER_VALUE = 2000

_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/td|/h\d|/li|p)\b[^<>]{0,200}>", re.IGNORECASE)
_IGNORED = re.compile(r"<(style|script|head)\b[^<>]{0,200}>[^<]{0,20000}(?:</\1>)?", re.IGNORECASE)
_TAG = re.compile(r"<(?:[a-z!/?])[^<>@]{0,1000}>", re.IGNORECASE)
"""An address in angle brackets is no tag."""

_RETURNED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RECEIPT = frozenset({"message/disposition-notification", "message/global-disposition-notification"})


@dataclass(frozen=True, slots=True)
class Content:
    """What the rules look at."""

    headers: Mapping[str, Sequence[str]]
    content_type: str
    report_type: str
    """Of multipart/report (RFC 6522), in lower case; empty for other mail."""

    lines: Sequence[str]
    """Of all text for people, in order."""

    statuses: Sequence[bytes]
    returned: Sequence[bytes]
    """The beginnings of returned messages or headers, CRLF line ends."""

    receipt: bool
    feedback: Sequence[bytes]
    """Bodies of message/feedback-report."""

    def header(self, name: str) -> str:
        """Return the last value of a field, or an empty string."""
        found = self.headers.get(name)
        return found[-1][:MAX_HEADER_VALUE] if found else ""


def read_content(raw: bytes) -> Content:
    """Take a mail apart; any line ends; never fails."""
    raw = with_crlf(raw)
    headers = header_texts(raw)
    content_type, parameters = parse("".join(headers.get("content-type", [""])[-1]).encode("utf-8", "replace"))
    found = list(leaves(raw))
    return Content(
        headers=headers,
        content_type=content_type,
        report_type=parameters.get("report-type", "").lower() if content_type == "multipart/report" else "",
        lines=_lines(found, raw),
        statuses=[_bytes(leaf, raw, MAX_REPORT_BYTES) for leaf in found if leaf.content_type in _STATUS],
        returned=[_bytes(leaf, raw, MAX_RETURNED_BYTES) for leaf in found if leaf.content_type in _RETURNED],
        receipt=any(leaf.content_type in _RECEIPT for leaf in found),
        feedback=[
            _bytes(leaf, raw, MAX_REPORT_BYTES) for leaf in found if leaf.content_type == "message/feedback-report"
        ],
    )


def _bytes(leaf: Leaf, raw: bytes, most: int) -> bytes:
    """Return the beginning of a part, decoded; base64 is four thirds as long as what it encodes."""
    cut = replace(leaf, end=min(leaf.end, leaf.start + 2 * most))
    return with_crlf(cut.content(raw)[:most])


def _lines(found: Sequence[Leaf], raw: bytes) -> Sequence[str]:
    """Return the lines of plain text; of HTML only if there is no plain text."""
    plain = [leaf for leaf in found if leaf.content_type in ("text/plain", "text/us-ascii", "text/report")]
    marked = [] if plain else [leaf for leaf in found if leaf.content_type == "text/html"]
    lines: list[str] = []
    left = MAX_TEXT
    for leaf in plain or marked or [each for each in found[:1] if each.content_type.startswith("text/")]:
        if left <= 0 or len(lines) >= MAX_LINES:
            break
        cut = replace(leaf, end=min(leaf.end, leaf.start + 4 * left))
        text = cut.text(raw)[:left]
        left -= len(text)
        if leaf.content_type == "text/html":
            text = unescape(_TAG.sub(" ", _BREAK.sub("\n", _IGNORED.sub(" ", text))))
        lines += [line[:MAX_LINE].rstrip().replace("\xa0", " ") for line in text.split("\n")]
    if not found:
        # A multipart whose boundary never comes: relays of old threw the boundaries away.
        body = raw.partition(b"\r\n\r\n")[2][: 4 * MAX_TEXT].decode("utf-8", "replace")
        lines = [line[:MAX_LINE].rstrip() for line in body[:MAX_TEXT].replace("\r\n", "\n").split("\n")]
    return lines[:MAX_LINES]
