"""Tag lists of DKIM and ARC fields and key records (RFC 6376 §3.2), read strictly and in linear time."""

import base64
import binascii
import re
from collections.abc import Mapping

MAX_TAGS = 60

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}\Z")
_WHITE = re.compile(r"[ \t\r\n]+")
_SIGNATURE = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
"""The ``b`` tag, not ``bh``: its name ends at white space or the equals sign."""


class BadTags(Exception):
    """The field is no tag list, or a tag has a value that it may not have."""


def read_tags(value: bytes | str) -> Mapping[str, str]:
    """Return the tags with their values, white space around them removed.

    Raises:
        BadTags: a tag twice, a name that is none, or too many.
    """
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, content = part.partition("=")
        name = name.strip()
        # RFC 6376 §3.2: the same tag twice makes the whole list invalid.
        if not equals or not _NAME.match(name) or name in tags or len(tags) >= MAX_TAGS:
            raise BadTags("this is no list of tags")
        tags[name] = content.strip()
    return tags


def compact(text: str) -> str:
    """Return the text without any white space: base64 and lists may be folded anywhere."""
    return _WHITE.sub("", text)


def decoded(text: str) -> bytes:
    """Return the bytes of a base64 tag.

    Raises:
        BadTags: it is none.
    """
    try:
        return base64.b64decode(compact(text), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadTags("a tag is no base64") from exc


def without_signature(value: bytes) -> bytes:
    """Return the field's value with its ``b`` tag emptied (RFC 6376 §3.7); all else byte for byte."""
    return _SIGNATURE.sub(rb"\1", value, count=1)
