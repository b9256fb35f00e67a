"""Names and permalinks of organizations and servers.

A name is for people, a permalink for addresses and commands: it is made from the
name once and never changes (Postal: app/models/organization.rb, server.rb,
concerns/has_permalink).
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from itertools import count

from shared.domain.errors import InvalidValue

MAX_NAME_LENGTH = 100
MAX_PERMALINK_LENGTH = 60
MAX_REASON_LENGTH = 250

_PERMALINK = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")


class Kind(StrEnum):
    """What carries a permalink; each kind has its own, unique in the installation."""

    ORGANIZATION = "organization"
    SERVER = "server"


RESERVED = {
    Kind.ORGANIZATION: frozenset({"new", "edit", "remove", "delete", "destroy", "admin", "mail", "org", "server"}),
    Kind.SERVER: frozenset({"new", "all", "search", "stats", "edit", "manage", "delete", "destroy", "remove"}),
}
"""Words that stand in the dashboard's paths, as in Postal."""


def check_name(name: str) -> str:
    """Return the name without white space around it.

    Raises:
        InvalidValue: empty, too long, or with characters that no line can show.
    """
    stripped = name.strip()
    if not stripped:
        raise InvalidValue("a name must not be empty")
    if len(stripped) > MAX_NAME_LENGTH:
        raise InvalidValue(f"a name may have at most {MAX_NAME_LENGTH} characters")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in stripped):
        raise InvalidValue("a name must not contain control characters or line ends")
    return stripped


def check_permalink(permalink: str, kind: Kind) -> str:
    """Return a permalink that somebody chose, unchanged.

    Raises:
        InvalidValue: not of small letters, digits and inner hyphens, too long, or reserved.
    """
    if not _PERMALINK.match(permalink) or len(permalink) > MAX_PERMALINK_LENGTH:
        raise InvalidValue(
            f"a permalink has 1 to {MAX_PERMALINK_LENGTH} small letters, digits and hyphens, no hyphen at its ends"
        )
    if permalink in RESERVED[kind]:
        raise InvalidValue(f"the permalink {permalink} is reserved; choose another")
    return permalink


def permalinks_for(name: str, kind: Kind) -> Iterator[str]:
    """Yield permalinks for a name, best first and without end: ``acme``, then ``acme-2``, and so on.

    Letters lose their accents; a name without any Latin letter or digit gives the
    kind's own word.  Reserved words are left out.
    """
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode("ascii")
    # Ten characters stay free for the number.
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: MAX_PERMALINK_LENGTH - 10].rstrip("-") or kind.value
    for number in count(1):
        permalink = base if number == 1 else f"{base}-{number}"
        if permalink not in RESERVED[kind]:
            yield permalink


def check_typed_name(typed: str, name: str) -> None:
    """Let a removal go on only if the thing's name was typed, as Postal's dashboard asks.

    Raises:
        InvalidValue: another name was typed.
    """
    if typed.strip() != name:
        raise InvalidValue(f"to confirm, type the name exactly as it is: {name}")


def check_reason(reason: str) -> str:
    """Return the reason of a suspension without white space around it.

    Raises:
        InvalidValue: empty, too long, or with control characters.
    """
    stripped = reason.strip()
    if not stripped or len(stripped) > MAX_REASON_LENGTH or not stripped.isprintable():
        raise InvalidValue(f"the reason of a suspension must be a line of 1 to {MAX_REASON_LENGTH} characters")
    return stripped
