"""Header fields made from plain text: encoded, quoted and folded, never injectable.

Whoever asks for a header hands over *text*.  What looks like an encoded word in it
is text too and is encoded, so that the reader sees it literally (CVE-2024-6923 came
of trusting it).  Control characters are refused, so no value can end its line.
"""

import re
from binascii import b2a_base64
from collections.abc import Sequence

from shared.domain.errors import InvalidValue
from shared.domain.headers import LINE_ENDING
from shared.domain.mime_mailboxes import Mailbox

LINE_LENGTH = 76
"""RFC 2047 §2: the longest line with an encoded word; we fold everything there."""

MAX_VALUE_LENGTH = 10_000
MAX_WORD_LENGTH = 900
"""A longer word could not be folded under the 998 octets of RFC 5322 §2.1.1."""

MIN_ROOM = 40
"""An encoded word gets at least this, however long the field's name is."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,76}\Z")
"""Field names as HTTP tokens: RFC 5322 §2.2 would allow more, but nobody uses it."""

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_QUOTABLE = re.compile(r"[ -~]{1,60}\Z")
_NO_ATTRIBUTE_CHAR = re.compile(rb"[^A-Za-z0-9!#$&+.^_`|~-]")
"""Octets that RFC 2231 §7 wants encoded."""

_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
"""RFC 2047 §5 (3): what may stand unencoded in a phrase, the strictest of the three places."""


def check_name(name: str) -> None:
    """Refuse what is no header name.

    Raises:
        InvalidValue: empty, too long, or with other than token characters.
    """
    if not _NAME.match(name):
        raise InvalidValue("a header name has 1 to 76 letters, digits or hyphens")


def check_text(text: str, what: str) -> None:
    """Refuse line breaks and control characters of every kind, and absurd lengths.

    Raises:
        InvalidValue: naming ``what``, never the text itself.
    """
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidValue(f"{what} is longer than {MAX_VALUE_LENGTH} characters")
    if LINE_ENDING.search(text):
        raise InvalidValue(f"{what} must not contain line breaks or control characters")


def text_field(name: str, text: str) -> bytes:
    """Return an unstructured field (RFC 5322 §2.2.1) whose reader sees exactly ``text``.

    Raises:
        InvalidValue: the name is none, or the text has control characters.
    """
    check_name(name)
    check_text(text, name)
    words = text.split(" ")
    if _goes_plain(text, words, room=LINE_LENGTH - len(name) - 2):
        return _folded(name, words)
    return _folded(name, encoded_words(text, first_room=LINE_LENGTH - len(name) - 2))


def address_field(name: str, mailboxes: Sequence[Mailbox]) -> bytes:
    """Return a field with addresses and their display names (RFC 5322 §3.6.2-3).

    Raises:
        InvalidValue: a display name has control characters.
    """
    words: list[str] = []
    for mailbox in mailboxes:
        if words:
            words[-1] += ","
        check_text(mailbox.name, f"a name in {name}")
        if mailbox.name:
            words += _phrase(mailbox.name, first_room=LINE_LENGTH if words else LINE_LENGTH - len(name) - 2)
            words.append(f"<{mailbox.address}>")
        else:
            words.append(mailbox.address)
    return _folded(name, words)


def parameter(name: str, text: str) -> str:
    """Return ``; name=...`` on lines of its own, in extended notation unless plain ASCII (RFC 2231 §3-4)."""
    if re.fullmatch(r"[ !#-\[\]-~]{0,60}", text) and "=?" not in text:
        return f';\r\n {name}="{text}"'
    # A character's octets stay in one section, because some readers decode each section by itself.
    pieces = [_NO_ATTRIBUTE_CHAR.sub(_percent, char.encode("utf-8")).decode("ascii") for char in text]
    lines = ["utf-8''"]
    for piece in pieces:
        if len(lines[-1]) + len(piece) > LINE_LENGTH - len(name) - 10:
            lines.append("")
        lines[-1] += piece
    if len(lines) == 1:
        return f";\r\n {name}*={lines[0]}"
    return "".join(f";\r\n {name}*{number}*={line}" for number, line in enumerate(lines))


def _percent(octet: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(octet[0])


def ascii_fallback(text: str) -> str:
    """Return the text for readers that know no RFC 2231: other characters become underscores."""
    return re.sub(r"[^ !#-<>-\[\]-~]", "_", text)[:60]


def encoded_words(text: str, *, first_room: int = LINE_LENGTH - 1) -> Sequence[str]:
    """Return the text as encoded words of at most 75 characters (RFC 2047 §2), in UTF-8."""
    raw = text.encode("utf-8")
    plain = sum(octet in _Q_SAFE or octet == 0x20 for octet in raw)
    encode = _q_words if len(raw) * 3 - plain * 2 <= len(raw) * 4 / 3 else _b_words
    return encode(text, max(first_room, MIN_ROOM))


def _q_words(text: str, room: int) -> Sequence[str]:
    words = [""]
    for char in text:
        piece = "".join(
            "_" if octet == 0x20 else chr(octet) if octet in _Q_SAFE else f"={octet:02X}"
            for octet in char.encode("utf-8")
        )
        # A character's octets may not be split between two words (RFC 2047 §5).
        if len(words[-1]) + len(piece) > min(room, 75) - len("=?utf-8?q??="):
            words.append("")
            room = 75
        words[-1] += piece
    return [f"=?utf-8?q?{word}?=" for word in words]


def _b_words(text: str, room: int) -> Sequence[str]:
    words = [b""]
    for char in text:
        piece = char.encode("utf-8")
        if len(words[-1]) + len(piece) > (min(room, 75) - len("=?utf-8?b??=")) // 4 * 3:
            words.append(b"")
            room = 75
        words[-1] += piece
    return [f"=?utf-8?b?{b2a_base64(word, newline=False).decode()}?=" for word in words]


def _goes_plain(text: str, words: Sequence[str], *, room: int) -> bool:
    """Whether the text survives as it is: white space would be lost at a fold or at either end."""
    if not text.isascii() or "=?" in text or "\t" in text or text != text.strip(" "):
        return False
    return len(text) <= room or ("" not in words and max(map(len, words)) <= MAX_WORD_LENGTH)


def _phrase(name: str, *, first_room: int) -> Sequence[str]:
    if "=?" not in name and _ATOMS.match(name):
        return name.split(" ")
    if "=?" not in name and _QUOTABLE.match(name):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return [f'"{escaped}"']
    return encoded_words(name, first_room=first_room)


def _folded(name: str, words: Sequence[str]) -> bytes:
    """Join words with single spaces, breaking lines before a word; never right after the name."""
    lines = [f"{name}: {words[0]}"]
    for word in words[1:]:
        # An empty word is half of a double space, which may not begin a line.
        if word and len(lines[-1]) + 1 + len(word) > LINE_LENGTH:
            lines.append(f" {word}")
        else:
            lines[-1] += f" {word}"
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"
