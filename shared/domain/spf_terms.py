"""What an SPF record says, as far as one must know it to see who is let through (RFC 7208)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TERM = re.compile(r"([+?~-]?)([a-z][a-z0-9_.-]*)([:=/]?)(.*)", re.IGNORECASE | re.DOTALL)

MAX_TERMS = 200


@dataclass(frozen=True, slots=True)
class SPFTerm:
    """One mechanism that passes, or the redirect."""

    name: str
    """Lower case: ``a``, ``mx``, ``ip4``, ``ip6``, ``include``, ``all``, ``redirect``."""

    value: str
    """Lower case; empty for "this domain"."""


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (RFC 7208 §4.5)."""
    return text.split(" ", 1)[0].lower() == "v=spf1"


def passing_terms(text: str) -> Sequence[SPFTerm]:
    """Return the terms through which somebody may pass, up to ``all``; there a record ends (RFC 7208 §5.1, §6.1)."""
    found: list[SPFTerm] = []
    redirects: list[SPFTerm] = []
    for word in text.split(" ")[1 : MAX_TERMS + 1]:
        term = _TERM.fullmatch(word)
        if term is None:
            continue
        qualifier, name, sign, value = term[1], term[2].lower(), term[3], term[4].lower()
        if sign == "=":
            if name == "redirect":
                redirects.append(SPFTerm(name, value.rstrip(".")))
            continue
        if qualifier in ("", "+"):
            found.append(SPFTerm(name, value.rstrip(".") if sign == ":" else ""))
        if name == "all":
            return found
    return [*found, *redirects]
