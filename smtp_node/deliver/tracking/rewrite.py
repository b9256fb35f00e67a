"""Puts tracked links and a pixel into a message, and leaves every other byte as it is.

HTML and text parts that a reader shows are looked at; attachments, forwarded
messages, calendars, and everything inside of signed, encrypted and report parts
are not.  A link that is marked ``https+notrack://`` loses its mark and nothing
else, whether the message is tracked or not.
"""

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shared.domain.mime_reading import Leaf, leaves
from shared.domain.tracking import PATHS, Tracking, is_excluded
from shared.tokens import CLICK, OPEN, Named, Tokens
from smtp_node.deliver.tracking.html_links import attribute_text, marks_in
from smtp_node.deliver.tracking.splice import Edit, Text, spliced
from smtp_node.deliver.tracking.targets import target_of
from smtp_node.deliver.tracking.text_links import PGP, links_in

MAX_PART_BYTES = 2 * 1024 * 1024
"""Larger text parts stay as they are."""

MAX_LINKS = 1000
"""Of one message; further ones stay as they are.  Each may add 2.8 KB."""

SEALED = frozenset({"multipart/signed", "multipart/encrypted", "multipart/report"})

_SKIP = re.compile(rb"^X-AMP[ \t]*:[ \t]*skip[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
"""Postal's switch for a single message."""

_ENCODED = re.compile(
    rb"^Content-Transfer-Encoding[ \t]*:[ \t]*(?:base64|quoted-printable)", re.IGNORECASE | re.MULTILINE
)
_ENCODING_FIELD = re.compile(
    rb"^Content-Transfer-Encoding[ \t]*:(?:[^\r]|\r\n[ \t])*\r\n", re.IGNORECASE | re.MULTILINE
)
_MIME_VERSION = re.compile(rb"^MIME-Version[ \t]*:", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r"\+notrack(?=://)", re.IGNORECASE)
_MARK_BYTES = re.compile(rb"\+notrack://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Marking:
    """How one message is to be marked.

    Args:
        tracking: what is tracked, and under which host.
        base_url: scheme, host and port of links.
        tokens: sign the links.
        named: the message.
    """

    tracking: Tracking
    base_url: str
    tokens: Tokens
    named: Named

    def link(self, url: str) -> str:
        """Return the tracked link to an address."""
        token = self.tokens.make(CLICK, self.tracking.host, self.named._replace(target=url))
        return f"{self.base_url}{PATHS[CLICK]}{token}"

    def pixel(self) -> str:
        """Return the pixel's tag."""
        token = self.tokens.make(OPEN, self.tracking.host, self.named)
        style = "border:0;width:1px;height:1px"
        return f'<img src="{self.base_url}{PATHS[OPEN]}{token}" width="1" height="1" alt="" style="{style}">'


def rewritten(raw: bytes, marking: Marking | None) -> bytes:
    """Return the message with its links and pixel; the very same bytes if there is nothing to do.

    Args:
        raw: as it is stored, CRLF line ends.
        marking: None: not tracked, only ``+notrack`` marks are taken out.
    """
    if marking is None and not _may_hold_marks(raw):
        return raw
    head_end = max(0, raw.find(b"\r\n\r\n")) + 2
    if marking is not None and _SKIP.search(raw, 0, head_end):
        marking = None
    # RFC 2045 §4: without it a reader need not know what an encoding is.
    is_mime = _MIME_VERSION.search(raw, 0, head_end) is not None
    work = _Work(marking)
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    at = 0
    for leaf in leaves(raw, sealed=SEALED):
        if leaf.attached or leaf.end - leaf.start > MAX_PART_BYTES:
            continue
        if work.marking is None and not _holds_mark(leaf, raw):
            continue
        edits = work.edits_of(leaf)
        done = spliced(raw[leaf.start : leaf.end], leaf.encoding, leaf.charset, edits) if edits else None
        if done is None or (done.encoding is not None and not is_mime):
            continue
        head = raw[leaf.head_at : leaf.start]
        pieces += (view[at : leaf.head_at], head if done.encoding is None else _with_encoding(head, done.encoding))
        pieces.append(done.body)
        at = leaf.end
    return b"".join((*pieces, view[at:])) if pieces else raw


def _may_hold_marks(raw: bytes) -> bool:
    return _MARK_BYTES.search(raw) is not None or _ENCODED.search(raw) is not None


def _holds_mark(leaf: Leaf, raw: bytes) -> bool:
    """Tell whether a part holds a mark: a quick look, because most mail does not."""
    body = raw[leaf.start : leaf.end]
    if leaf.encoding == "base64":
        try:
            body = a2b_base64(body)
        except Error:
            return False
    elif leaf.encoding == "quoted-printable":
        body = a2b_qp(body)
    return _MARK_BYTES.search(body) is not None


def _with_encoding(head: bytes, encoding: str) -> bytes:
    """Return a part's head with another Content-Transfer-Encoding."""
    field_line = b"Content-Transfer-Encoding: %s\r\n" % encoding.encode()
    changed, count = _ENCODING_FIELD.subn(lambda _: field_line, head, count=1)
    return changed if count else head[:-2] + field_line + head[-2:]


@dataclass(slots=True)
class _Work:
    """What is left to do for one message."""

    marking: Marking | None
    links: int = 0
    pixel_is_there: bool = False

    def edits_of(self, leaf: Leaf) -> Callable[[Text], list[Edit]] | None:
        match leaf.content_type:
            case "text/html":
                return self._html
            case "text/plain":
                flowed = leaf.parameters.get("format", "").lower() == "flowed"
                joined = flowed and leaf.parameters.get("delsp", "").lower() == "yes"
                return partial(self._plain, flowed_without_spaces=joined)
            case _:
                return None

    def _html(self, text: Text) -> list[Edit]:
        marks = marks_in(text.text)
        edits = [
            edit
            for start, end in marks.links
            if (edit := self._edit(text, start, end, attribute_text(text.text[start:end])))
        ]
        marking = self.marking
        if marking is not None and marking.tracking.opens and not self.pixel_is_there and marks.pixel_at is not None:
            self.pixel_is_there = True
            edits.append(Edit(marks.pixel_at, marks.pixel_at, marking.pixel()))
        # The last </body> may stand before a link, in documents that nobody meant to write.
        return sorted(edits)

    def _plain(self, text: Text, *, flowed_without_spaces: bool) -> list[Edit]:
        if PGP in text.text:
            return []
        found = links_in(text.text, flowed_without_spaces=flowed_without_spaces)
        return [edit for start, end in found if (edit := self._edit(text, start, end, text.text[start:end]))]

    def _edit(self, text: Text, start: int, end: int, address: str) -> Edit | None:
        if text.opaque and not address.isascii():
            return None
        utf8 = text.charset.replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii")
        target = target_of(address, utf8_query=utf8)
        if target is None:
            return None
        if target.notrack:
            mark = _MARK.search(text.text, start, end)
            return Edit(*mark.span(), "") if mark else None
        marking = self.marking
        if marking is None or not marking.tracking.clicks or self.links >= MAX_LINKS:
            return None
        if target.host.partition(":")[0] == marking.tracking.host or is_excluded(
            target.host, marking.tracking.excluded
        ):
            return None
        self.links += 1
        return Edit(start, end, marking.link(target.url))
