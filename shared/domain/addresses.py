"""Mail addresses: one strict form inside, every reading of a header outside.

Inside Edgepost an address is ``local@domain`` (RFC 5321 §4.1.2 without source
routes and address literals), safe to stand in an SMTP command.  A From header
is judged by every address that *any* parser could show a reader, because
parsers disagree (CVE-2023-27043, bare line ends, comments, encoded words).
"""

import re
import unicodedata

import idna

from shared.domain.errors import InvalidValue
from shared.domain.headers import decoded
from shared.domain.loose_words import loosely_decoded

MAX_ADDRESS_LENGTH = 254
"""RFC 5321 §4.5.3.1.3, erratum 1690."""

MAX_LOCAL_LENGTH = 64
"""RFC 5321 §4.5.3.1.1, in bytes."""

MAX_HEADER_LENGTH = 10_000

_VISIBLE = r"\u00a1-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\uf900-\ufefe\uff00-\U0010ffff"
"""Beyond ASCII, without what is invisible, ends lines or turns the direction of writing."""

_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{_VISIBLE}]"
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED_LOCAL = re.compile(r'"[ !#-;=?A-\[\]-~]{0,62}"\Z')
"""A quoted local part without ``\\``, ``<``, ``>`` and ``@``: those only serve attacks."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_SHOWN_DOMAIN = re.compile(r"@([^\s<>()\[\]\\,;:\"'@|]+)")


def checked(address: str) -> str:
    """Return the address with its domain in lower case, ready for an SMTP command.

    The domain becomes A-labels (RFC 5890), so that only a non-ASCII local part
    needs SMTPUTF8.

    Raises:
        InvalidValue: not ``local@domain``, or with anything that has a meaning to SMTP.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise InvalidValue("an address must be of the form name@example.com")
    if len(local.encode()) > MAX_LOCAL_LENGTH or len(address) > MAX_ADDRESS_LENGTH:
        raise InvalidValue("the address is too long")
    if not _LOCAL.match(local) and not _QUOTED_LOCAL.match(local):
        raise InvalidValue("the part before the @ has characters that are not allowed")
    return f"{local}@{domain_name(domain)}"


def domain_name(domain: str) -> str:
    """Return the domain as lower-case A-labels without a final dot.

    Raises:
        InvalidValue: not a domain name (an address literal is none).
    """
    name = domain.rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as exc:
            raise InvalidValue("the domain is not a valid international name") from exc
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise InvalidValue("the domain has characters that are not allowed")
    if labels[-1].isdigit():
        raise InvalidValue("the domain is an IP address")
    return name


def domain_of(address: str) -> str:
    """Return the domain of a checked address."""
    return address.rpartition("@")[2]


def shown_domains(value: bytes) -> frozenset[str]:
    """Return the domain of every address that any parser could find in a From header.

    Every ``@`` counts, also inside comments, quoted names and encoded words,
    as written and as decoded, by strict readers and by forgiving ones.  An empty
    set means: no address at all.

    Raises:
        InvalidValue: an ``@`` without a readable domain behind it.
    """
    if len(value) > MAX_HEADER_LENGTH:
        raise InvalidValue("the header is too long to be judged")
    written = value.decode("utf-8", "replace")
    found: set[str] = set()
    for text in {written, decoded(value), loosely_decoded(written)}:
        # A full-width @ or dot is shown like the plain one.
        plain = unicodedata.normalize("NFKC", text)
        domains = _SHOWN_DOMAIN.findall(plain)
        if len(domains) != plain.count("@"):
            raise InvalidValue("an address in the header has no readable domain")
        found.update(domain_name(domain) for domain in domains)
    return frozenset(found)
