"""Encoded words as the most forgiving readers decode them.

RFC 2047 §6.3 asks nobody to decode what is malformed, but some readers do; so whoever
judges what a reader could be shown has to look with their eyes too.
"""

import re
from binascii import a2b_qp

from shared.domain.charsets import text_in
from shared.domain.mime_encoding import lenient_base64

_WORD = re.compile(r"=\?([^?]*)\?([bBqQ])\?([^?]*)\?=")


def loosely_decoded(text: str) -> str:
    """Return a header value with everything decoded that only resembles an encoded word.

    Spaces and other characters inside do not matter, nor does padding in the middle;
    a charset that nobody knows is read as UTF-8.
    """
    return _WORD.sub(_decode, text)


def _decode(word: re.Match[str]) -> str:
    charset, encoding, encoded = word.groups()
    if encoding in "bB":
        raw = b"".join(map(lenient_base64, encoded.split("=")))
    else:
        raw = a2b_qp(encoded.replace("_", " ").encode())
    known = text_in(charset.partition("*")[0].strip(), raw)
    return raw.decode("utf-8", "replace") if known is None else known
