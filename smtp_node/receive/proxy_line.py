"""The PROXY protocol (haproxy.org, proxy-protocol.txt 2.2): a trusted proxy says who its client is.

Read strictly, byte by byte of a bounded header: what is not exactly a header of version 1
or 2 ends the connection, because a guess would let a client choose its own address.
aiosmtpd's reader was considered: it fails on ``PROXY`` without a family, and waits for up
to 128 KB before it looks at the length of the line.
"""

import struct
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1 = 107
"""Bytes of the line with its CRLF (§2.1)."""

MAX_V2 = 4096
"""Bytes behind the first sixteen: addresses, and extensions that are passed over."""

_FIRST = 12
"""The shortest header of version 1 is longer, and the signature of version 2 is exactly this."""


class BadProxyLine(Exception):
    """What came is no header of the PROXY protocol."""


async def read_proxy_line(exactly: Callable[[int], Awaitable[bytes]]) -> str | None:
    """Return the client's address; None if the proxy speaks for itself (LOCAL, UNKNOWN).

    Nothing behind the header is consumed.

    Args:
        exactly: returns so many bytes of the connection.

    Raises:
        BadProxyLine: it is no such header.
    """
    start = await exactly(_FIRST)
    if start == V2_SIGNATURE:
        version_command, family, length = struct.unpack("!BBH", await exactly(4))
        if length > MAX_V2:
            raise BadProxyLine("the header is too long")
        return _v2(version_command, family, await exactly(length))
    if not start.startswith(b"PROXY "):
        raise BadProxyLine("the connection does not begin with a header")
    line = start
    while not line.endswith(b"\r\n"):
        if len(line) >= MAX_V1 or b"\n" in line:
            raise BadProxyLine("the line does not end")
        line += await exactly(1)
    return _v1(line.removesuffix(b"\r\n"))


def _v1(line: bytes) -> str | None:
    """Read ``PROXY TCP4 source destination port port`` (§2.1): single spaces, no leading zeros."""
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadProxyLine("the line has other words")
    _, family, source, destination, *ports = words
    for port in ports:
        if not port.isdigit() or (len(port) > 1 and port.startswith(b"0")) or len(port) > 5 or int(port) > 65535:
            raise BadProxyLine("a port is no port")
    kind = IPv4Address if family == b"TCP4" else IPv6Address
    try:
        kind(destination.decode("ascii"))
        return str(kind(source.decode("ascii")))
    except ValueError as exc:
        raise BadProxyLine("an address is none of its family") from exc


def _v2(version_command: int, family: int, payload: bytes) -> str | None:
    """Read a binary header (§2.2)."""
    if version_command >> 4 != 2:
        raise BadProxyLine("the version is unknown")
    match version_command & 0xF:
        case 0:
            return None  # LOCAL: a health check of the proxy
        case 1:
            pass
        case _:
            raise BadProxyLine("the command is unknown")
    match family:
        case 0x00:
            return None  # UNSPEC: the proxy does not know either
        case 0x11 if len(payload) >= 12:
            return str(IPv4Address(payload[:4]))
        case 0x21 if len(payload) >= 36:
            return str(IPv6Address(payload[:16]))
        case _:
            raise BadProxyLine("the family is not TCP over IP, or its addresses are cut")
