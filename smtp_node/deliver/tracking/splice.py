"""Changing some characters of an encoded part, and not one byte more.

The part is decoded only to find the places.  In 7bit, 8bit and binary the bytes are
exchanged where they stand; in quoted-printable too, with soft line breaks where a
line would grow too long; base64 is encoded anew in lines of the same length.
"""

import re
from binascii import Error, a2b_base64, b2a_base64, b2a_qp
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from shared.domain.charsets import text_in
from shared.domain.headers import with_crlf

MAX_LINE_BYTES = 998
"""RFC 5322 §2.1.1, without the line end."""

QP_LINE = 76

_QP_ESCAPE = re.compile(rb"(=(?:[0-9A-Fa-f]{2}|[ \t]*\r\n))")
_OCTETS = {
    f"={high}{low}".encode(): bytes.fromhex(high + low)
    for high in "0123456789ABCDEFabcdef"
    for low in "0123456789ABCDEFabcdef"
}
_AS_BROWSERS_READ = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "big5": "cp950",
}
"""Charsets that mail names and means a larger one by (Encoding Standard §4.2)."""


class Text(NamedTuple):
    """The text of a part."""

    text: str
    charset: str
    """Encodes it back; Latin-1 if the part's bytes are no text in their charset."""

    opaque: bool
    """Only ASCII characters mean what they are; the others stand for bytes."""


class Edit(NamedTuple):
    """Characters from ``start`` to ``end`` become ``new``, which is ASCII."""

    start: int
    end: int
    new: str


Edits: TypeAlias = Callable[[Text], Sequence[Edit]]
"""Finds what to change in a text: in order, without overlap."""


class Spliced(NamedTuple):
    """A body with its changes."""

    body: bytes
    encoding: str | None
    """A new Content-Transfer-Encoding; None if it is what it was."""


def spliced(body: bytes, encoding: str, charset: str, edits: Edits) -> Spliced | None:
    """Return the body of a part with its text changed; None if there is nothing to change, or no safe way to."""
    match encoding:
        case "" | "7bit" | "8bit" | "binary":
            changes = _changes(body, charset, edits)
            return _identity(body, changes) if changes else None
        case "quoted-printable":
            decoded, marks = _qp_decoded(body)
            changes = _changes(decoded, charset, edits)
            return Spliced(_qp_changed(body, marks, changes), None) if changes else None
        case "base64":
            return _base64(body, charset, edits)
        case _:
            return None


class _Change(NamedTuple):
    start: int
    end: int
    new: bytes


def _changes(decoded: bytes, charset: str, edits: Edits) -> Sequence[_Change]:
    """Return the edits as changes of bytes; none if the text does not encode back to the same bytes."""
    text = _text(decoded, charset)
    found = edits(text)
    if not found:
        return ()
    cuts = [0, *(at for each in found for at in (each.start, each.end)), len(text.text)]
    pieces = [text.text[start:end].encode(text.charset, "strict") for start, end in pairwise(cuts)]
    if b"".join(pieces) != decoded:
        return ()
    changes: list[_Change] = []
    at = 0
    for each, before, within in zip(found, pieces[::2], pieces[1::2], strict=False):
        start = at + len(before)
        at = start + len(within)
        changes.append(_Change(start, at, each.new.encode(text.charset)))
    return changes


def _text(decoded: bytes, charset: str) -> Text:
    name = charset.lower() or "us-ascii"
    for candidate in dict.fromkeys((_AS_BROWSERS_READ.get(name, name), "utf-8")):
        read = text_in(candidate, decoded)
        if read is not None and _encodes(candidate, read, decoded):
            return Text(read, candidate, opaque=False)
    return Text(decoded.decode("latin-1"), "latin-1", opaque=True)


def _encodes(charset: str, text: str, raw: bytes) -> bool:
    try:
        return text.encode(charset) == raw
    except (UnicodeError, LookupError):
        return False


def _identity(body: bytes, changes: Sequence[_Change]) -> Spliced:
    changed = _applied(body, changes)
    if _longest_line(changed) <= MAX_LINE_BYTES or _longest_line(body) > MAX_LINE_BYTES:
        return Spliced(changed, None)
    # A relay may break a line of over 998 bytes anywhere; quoted-printable decodes to the same text.
    return Spliced(with_crlf(b2a_qp(changed, istext=True)), "quoted-printable")


def _applied(body: bytes, changes: Sequence[_Change]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end, new in changes:
        pieces += (body[at:start], new)
        at = end
    return b"".join((*pieces, body[at:]))


def _longest_line(body: bytes) -> int:
    return max(map(len, body.split(b"\r\n")))


class _QPMarks(NamedTuple):
    """From each of these decoded offsets on, encoded bytes follow one by one, until the next mark."""

    decoded_at: list[int]
    encoded_at: list[int]
    escaped: list[bool]
    """Whether the byte at the mark is written as ``=XX``."""

    def start(self, offset: int) -> int:
        """Return where the decoded byte begins in the encoded body."""
        index = bisect_right(self.decoded_at, offset) - 1
        return self.encoded_at[index] + offset - self.decoded_at[index]

    def end(self, offset: int) -> int:
        """Return where the decoded byte before this offset ends in the encoded body."""
        if offset == 0:
            return 0
        index = bisect_right(self.decoded_at, offset - 1) - 1
        return self.start(offset - 1) + (3 if self.escaped[index] else 1)


def _qp_decoded(body: bytes) -> tuple[bytes, _QPMarks]:
    """Decode quoted-printable (RFC 2045 §6.7) and remember what stands where; a wrong escape is text."""
    parts = _QP_ESCAPE.split(body)
    pieces: list[bytes] = [parts[0]]
    decoded_at, encoded_at, escaped = [0], [0], [False]
    size = at = len(parts[0])
    for escape, literal in zip(parts[1::2], parts[2::2], strict=True):
        octet = _OCTETS.get(escape)
        if octet is not None:
            pieces.append(octet)
            decoded_at.append(size)
            encoded_at.append(at)
            escaped.append(True)
            size += 1
        at += len(escape)
        decoded_at.append(size)
        encoded_at.append(at)
        escaped.append(False)
        pieces.append(literal)
        size += len(literal)
        at += len(literal)
    return b"".join(pieces), _QPMarks(decoded_at, encoded_at, escaped)


def _qp_changed(body: bytes, marks: _QPMarks, changes: Sequence[_Change]) -> bytes:
    pieces: list[bytes] = []
    at = column = 0
    for start, end, new in changes:
        # An insertion stands right behind the byte before it.
        begin = marks.start(start) if end > start else marks.end(start)
        kept = body[at:begin]
        line_at = kept.rfind(b"\r\n")
        column = column + len(kept) if line_at < 0 else len(kept) - line_at - 2
        pieces.append(kept)
        at = marks.end(end)
        for line in _qp_lines(new, QP_LINE - 1 - column):
            if line is None:
                pieces.append(b"=\r\n")
                column = 0
            else:
                pieces.append(line)
                column += len(line)
        line_end = body.find(b"\r\n", at)
        if column + (line_end if line_end >= 0 else len(body)) - at > QP_LINE:
            pieces.append(b"=\r\n")
            column = 0
    return b"".join((*pieces, body[at:]))


def _qp_lines(new: bytes, room: int) -> Iterator[bytes | None]:
    """Yield the text in pieces that fit into their lines, and None where a soft line break belongs.

    Args:
        new: printable ASCII.
        room: of the first line, besides the ``=`` of a soft line break.
    """
    quoted = new.replace(b"=", b"=3D")
    at = 0
    while at < len(quoted):
        end = at + max(0, room)
        if end < len(quoted):
            # An escape is never cut in two.
            end = next((cut for cut in (end - 1, end - 2) if cut >= at and quoted[cut : cut + 1] == b"="), end)
        if end > at:
            yield quoted[at:end]
        if end < len(quoted):
            yield None
        at, room = end, QP_LINE - 1


def _base64(body: bytes, charset: str, edits: Edits) -> Spliced | None:
    text = body.rstrip(b"\r\n \t")
    first_line, line_end, _ = text.partition(b"\r\n")
    bare = text.replace(b"\r\n", b"")
    try:
        decoded = a2b_base64(bare)
    except Error:
        return None
    if b2a_base64(decoded, newline=False) != bare:
        return None  # characters that no decoder should have to guess at
    changes = _changes(decoded, charset, edits)
    if not changes:
        return None
    encoded = b2a_base64(_applied(decoded, changes), newline=False)
    width = len(first_line) if line_end and len(first_line) <= MAX_LINE_BYTES else QP_LINE
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    return Spliced(b"\r\n".join(lines) + body[len(text) :], None)
