"""Who is calling, when proxies that we trust stand in between."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from shared.settings import Network

MAX_HOPS = 20


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of the nearest host that is no trusted proxy.

    X-Forwarded-For is believed only as far as trusted proxies wrote it, from its
    end backwards: what stands before that, anybody may have sent.

    Args:
        peer: address of the connection; empty if it has none.
        forwarded_for: the X-Forwarded-For fields, in order.
        trusted: the networks of our proxies.
    """
    current = _address(peer)
    hops = [hop for field in forwarded_for for hop in field.split(",")][-MAX_HOPS:]
    while current is not None and hops and _is_in(current, trusted):
        before = _address(hops.pop())
        if before is None:
            break
        current = before
    return str(current) if current else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
