"""Content transfer encodings (RFC 2045 §6): the lightest that survives every relay."""

import re
from binascii import Error, a2b_base64, b2a_base64, b2a_qp
from collections.abc import Iterator

from shared.domain.headers import with_crlf

LINE_LENGTH = 76
"""RFC 2045 §6.7 (5) and §6.8: the longest line of quoted-printable and of base64."""

LINES_IN_BLOCK = 4096

_PLAIN = bytes([*b"\t\r\n", *range(32, 127)])
_QP_PLAIN = _PLAIN.replace(b"=", b"")
_LINE_WITH_FROM = re.compile(rb"^From ", re.MULTILINE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def encode_text(text: str) -> tuple[str, bytes]:
    """Return the encoding's name and the text in it, UTF-8, with CRLF line ends.

    Any line end inside the text, a bare CR too, becomes CRLF.  Nothing that
    comes out has a bare CR or LF, a NUL, or a line over 76 characters.
    """
    raw = with_crlf(text.encode("utf-8"))
    if _travels_plain(raw):
        return "7bit", raw
    encoded_octets = len(raw.translate(None, _QP_PLAIN))
    if encoded_octets * 6 > len(raw):  # Then base64, at four for three, is the shorter one.
        return "base64", wrapped_base64(raw)
    # b2a_qp copies the line ends of its input; where it has none, its soft line ends are a bare LF.
    encoded = with_crlf(b2a_qp(raw, quotetabs=False, istext=True))
    # A "From " at the start of a line would get a ">" from mbox stores on the way (RFC 4155).
    return "quoted-printable", _LINE_WITH_FROM.sub(b"=46rom =\r\n", encoded)


def _travels_plain(raw: bytes) -> bool:
    """Whether no relay or store on the way has a reason to change the bytes."""
    return (
        not raw.translate(None, _PLAIN)
        and not any(odd in raw for odd in (b" \r\n", b"\t\r\n", b"\nFrom ", b"\n.\r\n"))
        and not raw.startswith((b"From ", b".\r\n"))
        and not raw.endswith((b" ", b"\t", b"\n."))
        and raw != b"."
        and max(map(len, raw.split(b"\r\n"))) <= LINE_LENGTH
    )


def wrapped_base64(raw: bytes, *, width: int = LINE_LENGTH, line_end: bytes = b"\r\n") -> bytes:
    """Return base64 in lines of ``width`` characters, each with its line end."""
    return b"".join(base64_blocks(raw, width=width, line_end=line_end))


def base64_blocks(raw: bytes, *, width: int = LINE_LENGTH, line_end: bytes = b"\r\n") -> Iterator[bytes]:
    """Yield base64 in lines of ``width`` characters, a multiple of 4, each with its line end."""
    size = width // 4 * 3 * LINES_IN_BLOCK
    for start in range(0, len(raw), size):
        encoded = b2a_base64(raw[start : start + size], newline=False)
        lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
        yield line_end.join([*lines, b""])


def lenient_base64(text: str) -> bytes:
    """Return what the text encodes, as Ruby's decode64 does: it never fails.

    Characters outside the alphabet are skipped, padding may be missing, and a
    final group that encodes no whole byte is dropped.
    """
    raw = text.encode("ascii", "ignore")
    try:
        return a2b_base64(raw, strict_mode=True)
    except Error:
        kept = _NOT_BASE64.sub(b"", raw.partition(b"=")[0])
        kept = kept[: len(kept) - 1] if len(kept) % 4 == 1 else kept
        return a2b_base64(kept + b"=" * (-len(kept) % 4))
