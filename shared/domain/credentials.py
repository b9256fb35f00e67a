"""Keys, networks and the use of credentials: rules without storage."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from shared.domain.errors import InvalidValue

KEY_LENGTH = 24
"""Letters and digits of a key, as Postal's (app/models/credential.rb): 142 bits."""

V4_WIDEST = 8
V6_WIDEST = 32
"""A network wider than this would let half the Internet send."""

_V4_MAPPED = IPv6Network("::ffff:0:0/96")


def key_hash(key: str) -> str:
    """Return what is stored and looked up instead of the key: SHA-256 in hex.

    No salt and no slow hash: a key has 142 random bits, so it cannot be guessed.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def network(text: str) -> str:
    """Return the network of an SMTP-IP credential in its one spelling, such as ``192.0.2.0/24``.

    A bare address is a network of one.  IPv4 addresses written as IPv6
    (``::ffff:192.0.2.1``, RFC 4291 §2.5.5.2) become IPv4, because a dual-stack
    listener shows them so.

    Raises:
        InvalidValue: no network, host bits set, or wider than /8 (IPv4) or /32 (IPv6).
    """
    try:
        found = ip_network(text.strip())
    except ValueError as exc:
        raise InvalidValue(f"{text!r} is not a network such as 192.0.2.0/24 or 2001:db8::/48") from exc
    if isinstance(found, IPv6Network) and found.subnet_of(_V4_MAPPED):
        v4 = found.network_address.ipv4_mapped
        found = ip_network(f"{v4}/{found.prefixlen - 96}")
    if found.version == 4 and found.prefixlen < V4_WIDEST:
        raise InvalidValue(f"an IPv4 network must be /{V4_WIDEST} or smaller")
    if found.version == 6 and found.prefixlen < V6_WIDEST:
        raise InvalidValue(f"an IPv6 network must be /{V6_WIDEST} or smaller")
    return str(found)


def networks_around(address: str) -> Sequence[str]:
    """Return every network that may hold the address, the most specific first; empty if it is no address."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return ()
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    widest = V4_WIDEST if found.version == 4 else V6_WIDEST
    lengths = range(found.max_prefixlen, widest - 1, -1)
    return [str(ip_network(f"{found}/{length}", strict=False)) for length in lengths]


class Use(StrEnum):
    """How lately a credential was used, in Postal's words."""

    UNUSED = "Unused"
    INACTIVE = "Inactive"
    DORMANT = "Dormant"
    QUIET = "Quiet"
    ACTIVE = "Active"


def use_of(last_used_at: datetime | None, now: datetime) -> Use:
    """Return the label of a credential's last use: over a year, half a year, a month ago, or since.

    Months are taken as 30 days (app/models/credential.rb, usage_type, counts calendar months).
    """
    if last_used_at is None:
        return Use.UNUSED
    age = now - last_used_at
    if age > timedelta(days=365):
        return Use.INACTIVE
    if age > timedelta(days=182):
        return Use.DORMANT
    if age > timedelta(days=30):
        return Use.QUIET
    return Use.ACTIVE
