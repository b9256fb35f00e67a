"""Where a link leads: the address as a browser would go to it, in ASCII, or nothing.

What a token carries is sent as a Location later, so it must lead exactly where the
link led.  A link of which that is not certain is no target, and stays as it is.
"""

import re
from typing import NamedTuple

from shared.domain.addresses import domain_name
from shared.domain.errors import InvalidValue
from shared.tokens import MAX_TARGET_BYTES

_HTTP = re.compile(r"(https?)(\+notrack)?://([^/?#\\]*)", re.IGNORECASE | re.ASCII)
_AROUND = "".join(map(chr, range(33)))
_NOT_SENT_AS_IT_IS = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")


class Target(NamedTuple):
    """An absolute http or https address."""

    url: str
    """ASCII, no control characters."""

    host: str
    """Lower case, with the port if there is one."""

    notrack: bool
    """Marked as Postal's links are that are not to be tracked, ``https+notrack://…``; the mark is not in ``url``."""


def target_of(text: str, *, utf8_query: bool = True) -> Target | None:
    """Return the target of a link's text; None if it leads to no http address, or not surely to one.

    Args:
        text: the address as written, entities decoded.
        utf8_query: whether a browser encodes the query in UTF-8: the document's own charset counts there
            (URL Standard, "query state"), so elsewhere only an ASCII query is certain.
    """
    # URL Standard, "basic URL parser", steps 1 and 3: spaces around it go, tabs and line ends everywhere.
    text = text.strip(_AROUND)
    if "\n" in text or "\r" in text or "\t" in text:
        text = text.translate({9: None, 10: None, 13: None})
    found = _HTTP.match(text)
    if found is None or len(text) > MAX_TARGET_BYTES:
        return None
    scheme, mark, authority = found.groups()
    rest = text[found.end() :]
    if not (authority.isascii() and authority.isprintable()):
        authority = _ascii_authority(authority)
    if not rest.isascii() and not utf8_query and not rest.partition("?")[2].partition("#")[0].isascii():
        return None
    host = authority.rpartition("@")[2].lower()
    if not host or " " in authority:
        return None
    url = f"{scheme}://{authority}{_NOT_SENT_AS_IT_IS.sub(_percent, rest)}"
    return None if len(url) > MAX_TARGET_BYTES else Target(url, host, mark is not None)


def _ascii_authority(authority: str) -> str:
    """Return the authority with its host as A-labels; empty if that is not possible."""
    user, at, host = authority.rpartition("@")
    name, colon, port = host.partition(":")
    try:
        return f"{user}{at}{domain_name(name)}{colon}{port}" if (user + port).isascii() else ""
    except InvalidValue:
        return ""


def _percent(found: re.Match[str]) -> str:
    # A lone surrogate cannot come from a strict decoder.
    return "".join(f"%{octet:02X}" for octet in found[0].encode("utf-8", "replace"))
