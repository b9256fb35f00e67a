"""The head of a message as bytes: split without rewriting a single one.

Python's ``email`` package re-serialises what it parses, reads a bare LF as a new
header line, and can be made to take minutes or to recurse to death.  The mail
path therefore splits heads itself, linearly, and refuses what two parsers could
read in two ways.  Line ends are CRLF throughout.
"""

import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.domain.charsets import text_in
from shared.domain.errors import MalformedMessage

MAX_HEAD_BYTES = 512 * 1024
MAX_FIELDS = 1000
SHORT_HEAD_BYTES = 32 * 1024
"""Taken apart within a millisecond; line by line takes a hundred times as long as a hash."""

MAX_DECODED_BYTES = 64 * 1024

BLOCK_BYTES = 256 * 1024
"""Large messages are searched in blocks: one search over all of it would stop every other thread for as long."""

LINE_ENDING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that end a line for some parser, steer a terminal, or are none; only a tab is harmless."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NAME = re.compile(rb"[!-9;-~]{1,200}\Z")
"""RFC 5322 §2.2: printable ASCII except colon.  No space may stand before the colon."""

_ENCODED_WORD = re.compile(r"=\?([\w!#$%&'*+.^`{|}~-]{1,40})(?:\*[\w-]*)?\?([bBqQ])\?([^?\s]{0,2000})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?[^?\s]{1,60}\?[bBqQ]\?)")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field exactly as it stands in the message."""

    key: bytes
    """The name in lower case: case does not matter in names (RFC 5322 §1.2.2)."""

    raw: bytes
    """The whole field: name, colon, value with its folds, final CRLF."""

    @property
    def value(self) -> bytes:
        """The unfolded value without the white space around it (RFC 5322 §2.2.3)."""
        return self.raw[len(self.key) + 1 :].replace(b"\r\n", b"").strip(b" \t")


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a message in their order, and where its body begins."""

    fields: Sequence[HeaderField]
    body_at: int
    """Offset of the body in the raw message, after the empty line."""

    def named(self, name: bytes) -> Sequence[HeaderField]:
        """Return all fields of that name, in order; case does not matter."""
        wanted = name.lower()
        return [field for field in self.fields if field.key == wanted]

    def text(self, name: bytes) -> str:
        """Return the decoded value of the last field of that name, or an empty string."""
        found = self.named(name)
        return decoded(found[-1].value) if found else ""


def is_head_short(raw: bytes | bytearray) -> bool:
    """Whether the head, if need be the whole message, is at most ``SHORT_HEAD_BYTES`` long."""
    return len(raw) <= SHORT_HEAD_BYTES or raw.find(b"\r\n\r\n", 0, SHORT_HEAD_BYTES) >= 0


def check_bytes(raw: bytes) -> None:
    """Refuse what travels differently through different hosts.

    A bare CR or LF ends a line for some parsers and not for others (SMTP
    smuggling, and a hidden second From); NUL is not allowed in mail at all
    (RFC 5321 §2.3.8, RFC 5322 §4).

    Raises:
        MalformedMessage: the bytes hold one of them.
    """
    if not has_crlf_only(raw):
        raise MalformedMessage("line ends must be CRLF, never a CR or LF alone")
    if b"\0" in raw:
        raise MalformedMessage("NUL bytes are not allowed in mail")


def has_crlf_only(raw: bytes) -> bool:
    """Tell whether CR and LF stand together wherever one of them stands."""
    for start in range(0, len(raw), BLOCK_BYTES):
        end = start + BLOCK_BYTES
        # A pair belongs to the block of its CR.
        pairs = raw.count(b"\r\n", start, end + 1)
        follows = start > 0 and raw[start - 1 : start + 1] == b"\r\n"
        splits = raw[end - 1 : end + 1] == b"\r\n"
        if raw.count(b"\r", start, end) != pairs or raw.count(b"\n", start, end) != pairs + follows - splits:
            return False
    return True


def with_crlf(raw: bytes) -> bytes:
    """Return the message with every line end, of whatever kind, as CRLF; itself if that is so already."""
    if b"\r" in raw:
        if has_crlf_only(raw):
            return raw
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return raw.replace(b"\n", b"\r\n")


def split_head(raw: bytes) -> Head:
    """Split the head of a message whose line ends are CRLF.

    Raises:
        MalformedMessage: too large, too many fields, or a line that is no field.
    """
    if raw.startswith(b"\r\n"):
        return Head((), 2)
    end = raw.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end >= 0:
        head, body_at = raw[: end + 2], end + 4
    elif len(raw) <= MAX_HEAD_BYTES:
        head, body_at = raw if raw.endswith(b"\r\n") else raw + b"\r\n", len(raw)
    else:
        raise MalformedMessage(f"the header is over {MAX_HEAD_BYTES} bytes")
    return Head(tuple(_fields(head)), body_at)


def _fields(head: bytes) -> Iterable[HeaderField]:
    lines: list[bytes] = []
    count = 0
    for line in head.split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t"):
            if not lines:
                raise MalformedMessage("the header starts with a folded line")
            lines.append(line)
            continue
        if lines:
            yield _field(lines)
        count += 1
        if count > MAX_FIELDS:
            raise MalformedMessage(f"the header has more than {MAX_FIELDS} fields")
        lines = [line]
    if lines:
        yield _field(lines)


def _field(lines: Sequence[bytes]) -> HeaderField:
    name, colon, _ = lines[0].partition(b":")
    if not colon or not _NAME.match(name):
        raise MalformedMessage("a header line is not of the form 'Name: value'")
    return HeaderField(name.lower(), b"\r\n".join(lines) + b"\r\n")


def without(raw: bytes, head: Head, names: Iterable[bytes], *, added: bytes = b"") -> bytes:
    """Return the message without the named fields, after some that are added; all else stays byte for byte."""
    unwanted = {name.lower() for name in names}
    kept = [field.raw for field in head.fields if field.key not in unwanted]
    if len(kept) == len(head.fields):
        return added + raw if added else raw
    return b"".join((added, *kept, b"\r\n", memoryview(raw)[head.body_at :]))


def decoded(value: bytes) -> str:
    """Return a header value as text, its encoded words decoded (RFC 2047).

    Never fails: what cannot be decoded stays as it is.  Control characters,
    line ends among them, come out as spaces.
    """
    text = value[:MAX_DECODED_BYTES].decode("utf-8", "replace")
    # RFC 2047 §6.2: white space between two encoded words is not shown.
    text = _ENCODED_WORD.sub(_decode_word, _BETWEEN_WORDS.sub(r"\1", text))
    return on_one_line(text)


def on_one_line(text: str) -> str:
    """Return the text with a space for each control character."""
    return _CONTROL.sub(" ", text)


def _decode_word(word: re.Match[str]) -> str:
    charset, encoding, encoded = word.groups()
    try:
        if encoding in "bB":
            raw = binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4))
        else:
            raw = binascii.a2b_qp(encoded.replace("_", "=20"), header=False)
    except ValueError:
        return word[0]
    text = text_in(charset, raw)
    return word[0] if text is None else text
