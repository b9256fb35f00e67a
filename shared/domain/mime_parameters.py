"""Parameters of Content-Type and Content-Disposition as hostile or old mail writes them."""

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from shared.domain.charsets import text_in
from shared.domain.headers import decoded, on_one_line

MAX_LENGTH = 8192
MAX_PARAMETERS = 50

_PARAMETER = re.compile(rb';\s*([^\s=;"]{1,80})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.DOTALL)
_SECTION = re.compile(r"([^*]+)\*(\d{0,3})(\*?)\Z")


def parse(value: bytes) -> tuple[str, Mapping[str, str]]:
    """Return the first word in lower case, such as ``text/plain``, and the decoded parameters.

    Never fails, and takes linear time: what cannot be read is left out.  Names in
    RFC 2231 notation, with continuations, come out under their plain name and win
    over a plain one; so do values that (wrongly, but often) hold encoded words.
    """
    value = value[:MAX_LENGTH]
    word = value.partition(b";")[0].strip().lower().decode("ascii", "replace")
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for count, found in enumerate(_PARAMETER.finditer(value)):
        if count == MAX_PARAMETERS:
            break
        name = found[1].decode("ascii", "replace").lower()
        raw = re.sub(rb"\\(.)", rb"\1", found[2]) if found[2] is not None else found[3].strip()
        if section := _SECTION.match(name):
            extended = bool(section[3]) or not section[2]
            sections.setdefault(section[1], {})[int(section[2] or 0)] = (raw, extended)
        else:
            plain.setdefault(name, decoded(raw))
    return word, plain | {name: _joined(pieces) for name, pieces in sections.items()}


def text_of(raw: bytes, charset: str) -> str:
    """Return the bytes as text; an unknown charset, or one that is none, is read as UTF-8."""
    text = text_in(charset or "utf-8", raw)
    return raw.decode("utf-8", "replace") if text is None else text


def _joined(pieces: Mapping[int, tuple[bytes, bool]]) -> str:
    """Put sections together (RFC 2231 §3-4.1); the charset stands in the first one."""
    raw, charset = b"", ""
    for number in sorted(pieces):
        piece, extended = pieces[number]
        if extended:
            if number == 0 and piece.count(b"'") >= 2:
                name, _, piece = piece.split(b"'", 2)
                charset = name.decode("ascii", "replace")
            piece = unquote_to_bytes(piece)
        raw += piece
    return on_one_line(text_of(raw, charset))
