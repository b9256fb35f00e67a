"""Bytes in a charset that a message names, read without trusting the name."""

import codecs

_NO_CHARSETS = frozenset({"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"})
"""Codecs that Python counts as charsets though no mail uses them; punycode takes quadratic time."""


def text_in(charset: str, raw: bytes) -> str | None:
    """Return the bytes as text, what does not fit as U+FFFD; None if the charset is unknown or none."""
    try:
        known = codecs.lookup(charset)
        if known.name in _NO_CHARSETS:
            return None
        return raw.decode(known.name, "replace")
    except (LookupError, ValueError):
        return None
