"""Which addresses may be reached: the public Internet, and what the operator allowed.

A recipient's MX record or a customer's endpoint may point anywhere, so the address
that is about to be connected to is judged, never the name it came from.
``ipaddress.is_global`` does not do: it passes NAT64 and 6to4 forms of private
addresses, multicast and 192.0.0.0/24, and has changed between Python releases
(CVE-2024-4032).  The rules therefore stand here, after the IANA special-purpose
registries (RFC 6890).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from shared.settings import Network

NEVER_BY_RANGE = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"), IPv6Network("fd00:ec2::/32"))
"""Where clouds keep credentials: reachable only if the address is allowed by itself."""

NOT_PUBLIC_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # RFC 791 §3.2: this network
        "10.0.0.0/8",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598: behind a carrier's NAT
        "127.0.0.0/8",  # RFC 1122 §3.2.1.3: loopback
        "169.254.0.0/16",  # RFC 3927: link-local, cloud metadata
        "172.16.0.0/12",  # RFC 1918
        "192.0.0.0/24",  # RFC 6890: protocol assignments, one of them Oracle's metadata
        "192.0.2.0/24",  # RFC 5737: documentation
        "192.88.99.0/24",  # RFC 7526: 6to4 relays, gone
        "192.168.0.0/16",  # RFC 1918
        "198.18.0.0/15",  # RFC 2544: benchmarks
        "198.51.100.0/24",  # RFC 5737
        "203.0.113.0/24",  # RFC 5737
        "224.0.0.0/4",  # RFC 5771: multicast
        "240.0.0.0/4",  # RFC 1112 §4: reserved, and broadcast
    )
)

PUBLIC_IPV6 = IPv6Network("2000::/3")
"""RFC 4291 §2.4: all global unicast given out so far; loopback, ULA, NAT64 and mapped forms lie outside."""

NOT_PUBLIC_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # RFC 2928: protocol assignments, Teredo among them
        "2001:db8::/32",  # RFC 3849: documentation
        "2002::/16",  # RFC 3056: 6to4, carries an IPv4 address
        "3fff::/20",  # RFC 9637: documentation
    )
)

NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
IPV4_COMPATIBLE = IPv6Network("::/96")
ISATAP_MARKS = (0x00005EFE, 0x02005EFE)


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Return whether a connection to the address may be opened.

    Yes for public unicast addresses and for those inside an allowed network.  An
    IPv6 address that carries an IPv4 address must pass as both.  Text that is
    not exactly one address, or has a zone (``fe80::1%eth0``), is refused.

    Args:
        address: the address of the socket, not a name.
        allowed: networks that the operator opened for this protocol.
    """
    if "%" in address:
        return False
    try:
        judged = ip_address(address)
    except ValueError:
        return False
    inner = embedded_ipv4(judged) if isinstance(judged, IPv6Address) else None
    if inner is not None and not may_reach(str(inner), allowed):
        return False
    return is_public(judged) or is_allowed(judged, allowed)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether the address is unicast and routed on the public Internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_IPV4)
    return address in PUBLIC_IPV6 and not any(address in network for network in NOT_PUBLIC_IPV6)


def is_allowed(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    """Return whether an allowed network holds the address."""
    by_itself_only = any(address in network for network in NEVER_BY_RANGE if network.version == address.version)
    return any(
        address in network
        for network in allowed
        if network.version == address.version and (not by_itself_only or network.num_addresses == 1)
    )


def embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which a gateway or the kernel may turn this one, or None.

    Mapped and compatible forms (RFC 4291 §2.5.5), 6to4 (RFC 3056), Teredo
    (RFC 4380), NAT64 (RFC 6052, RFC 8215) and ISATAP (RFC 5214 §6.1).
    """
    number = int(address)
    in_the_clear = (
        any(address in network for network in NAT64)
        # :: and ::1 are addresses of their own, not forms of 0.0.0.0 and 0.0.0.1.
        or (address in IPV4_COMPATIBLE and number > 1)
        or number >> 32 & 0xFFFFFFFF in ISATAP_MARKS
    )
    if in_the_clear:
        return IPv4Address(number & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
