"""PROXY lines: only a trusted proxy is believed, and nothing but an exact header is."""

import asyncio
import struct
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from smtp_node.receive.proxy_line import V2_SIGNATURE, BadProxyLine, read_proxy_line
from tests.dialogue.door import LIMITS, Doors, RecordingInside, open_doors
from tests.dialogue.wire import Wire

BEHIND = replace(LIMITS, proxies=(ip_network("127.0.0.0/8"),), handshake=timedelta(seconds=1))


V4 = bytes([192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 0, 25])


def v2(command: int = 0x21, family: int = 0x11, payload: bytes = V4) -> bytes:
    """Return a header of version 2."""
    return V2_SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


V6 = bytes.fromhex("20010db8000000000000000000000007") + b"\0" * 16 + b"\1\2\0\x19"

GOOD = {
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 25\r\n": "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n": "2001:db8::7",
    v2(): "192.0.2.7",
    v2(family=0x21, payload=V6): "2001:db8::7",
    v2(payload=V4 + b"\x04\x00\x10" + b"\0" * 16): "192.0.2.7",
}

OWN = [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n", v2(command=0x20), v2(family=0, payload=b"")]
"""The proxy speaks for itself: a health check."""

BAD = [
    b"EHLO client.example\r\n",
    b"PROXY\r\nEHLO x\r\nQUIT\r\n",
    b"PROXY \r\n" + b"x" * 20,
    b"PROXY TCP4\r\n" + b"x" * 20,
    b"proxy TCP4 192.0.2.7 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 25\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 25\n\r\n",
    b"PROXY  TCP4 192.0.2.7 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7  10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 25 26\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 040000 25\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 25\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 25\r\n",
    b"PROXY TCP4 192.0.2.999 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 0300.0.2.7 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 ::1 ::1 40000 25\r\n",
    b"PROXY TCP6 192.0.2.7 10.0.0.1 40000 25\r\n",
    b"PROXY UDP4 192.0.2.7 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7\0 10.0.0.1 40000 25\r\n",
    b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    b"\r\n\r\n\x00\r\nQUIT\r\n\r\n\r\n",
    v2(command=0x11),
    v2(command=0x22),
    v2(family=0x12),
    v2(family=0x31, payload=b"\0" * 216),
    v2(payload=b"\xc0\x00\x02"),
    v2(payload=b"\0" * 5000),
    V2_SIGNATURE + b"\x21\x11\xff\xff",
]


def reading(raw: bytes) -> "asyncio.StreamReader":
    """Return a stream that holds these bytes and ends."""
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    return reader


class TestReadProxyLine:
    @pytest.mark.parametrize(("raw", "address"), list(GOOD.items()), ids=range(len(GOOD)))
    async def test_takes_both_versions_and_nothing_behind_them(self, raw: bytes, address: str) -> None:
        """Extensions are passed over; the client's own bytes stay."""
        reader = reading(raw + b"EHLO x\r\n")

        assert await read_proxy_line(reader.readexactly) == address
        assert await reader.read() == b"EHLO x\r\n"

    @pytest.mark.parametrize("raw", OWN, ids=range(len(OWN)))
    async def test_a_proxy_may_speak_for_itself(self, raw: bytes) -> None:
        """Health checks come without a client."""
        assert await read_proxy_line(reading(raw).readexactly) is None

    @pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
    async def test_refuses_all_else(self, raw: bytes) -> None:
        """A forgiving reader would let two hosts see two clients."""
        with pytest.raises((BadProxyLine, asyncio.IncompleteReadError)):
            await read_proxy_line(reading(raw).readexactly)


class Behind(RecordingInside):
    """Also remembers which addresses were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    async def by_network(self, address: str) -> None:
        """Remember the address."""
        self.addresses.append(address)


async def session(doors: Doors, first: bytes, port: str = "smtp") -> Wire:
    """Connect, send the first bytes, and return the wire."""
    wire = await doors.connect(port)
    await wire.send(first)
    return wire


class TestDoor:
    @pytest.mark.parametrize("port", ["smtp", "submission"])
    @pytest.mark.parametrize("raw", [b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 25\r\n", v2()])
    async def test_the_client_is_whom_the_proxy_names(self, raw: bytes, port: str) -> None:
        """Limits, SMTP-IP credentials and Received go by the real client."""
        inside = Behind()
        async with open_doors(BEHIND, inside) as doors:
            wire = await session(doors, raw, port)
            assert (await wire.reply()).startswith("220 ")
            await wire.say("EHLO client.example")
            await wire.say("MAIL FROM:<a@b.example>")
            await wire.say("RCPT TO:<user@dest.test>")

        assert inside.addresses == ["192.0.2.7"]

    @pytest.mark.parametrize("raw", [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n", b"PROXY TCP6 ::1 ::1 1 25\r\n"])
    async def test_a_named_client_is_never_on_this_machine(self, raw: bytes) -> None:
        """Else whoever gets such a line past a proxy could log in without TLS."""
        async with open_doors(replace(BEHIND, clear_auth_on_loopback=True), Behind()) as doors:
            wire = await session(doors, raw, "submission")
            await wire.reply()

            assert "AUTH" not in await wire.say("EHLO client.example")

    async def test_a_second_line_is_a_wrong_command(self) -> None:
        """A client that sends a line of its own must not be believed."""
        inside = Behind()
        async with open_doors(BEHIND, inside) as doors:
            wire = await session(
                doors, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 25\r\nPROXY TCP4 203.0.113.9 10.0.0.1 1 25\r\n"
            )
            assert (await wire.reply()).startswith("220 ")
            assert (await wire.reply()).startswith("502 ")
            await wire.say("EHLO client.example")
            await wire.say("MAIL FROM:<a@b.example>")
            await wire.say("RCPT TO:<user@dest.test>")

        assert inside.addresses == ["192.0.2.7"]

    async def test_from_anybody_else_it_is_a_wrong_command(self) -> None:
        """Trusted is who stands in the settings, nobody else."""
        strangers = replace(LIMITS, proxies=(ip_network("192.0.2.0/24"),))
        async with open_doors(strangers, Behind()) as doors:
            wire = await session(doors, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 25\r\n")

            assert (await wire.reply()).startswith("220 ")
            assert (await wire.reply()).startswith("502 ")

    @pytest.mark.parametrize("raw", BAD[:24], ids=range(24))
    async def test_a_bad_header_ends_the_connection_before_the_greeting(self, raw: bytes) -> None:
        """Postal: 502 Proxy Error, and close."""
        async with open_doors(BEHIND, Behind()) as doors:
            wire = await session(doors, raw + b"EHLO x\r\n" * 20)

            assert await wire.reply() == "502 5.5.1 Proxy Error"
            assert await wire.reply() == ""

    async def test_a_silent_proxy_is_hung_up_on(self) -> None:
        """A connection that never names its client must not stay for ever."""
        async with open_doors(BEHIND, Behind()) as doors:
            wire = await session(doors, b"PROXY TCP4 ")

            assert (await wire.reply()).startswith("421 ")
            assert await wire.reply() == ""

    async def test_each_client_behind_a_proxy_has_its_own_limit(self) -> None:
        """All of them come from one address, as the socket sees it."""
        async with open_doors(replace(BEHIND, max_connections_per_client=2), Behind()) as doors:
            replies = []
            for number in (7, 7, 7, 8):
                wire = await session(doors, b"PROXY TCP4 192.0.2.%d 10.0.0.1 1 25\r\n" % number)
                replies.append((await wire.reply())[:3])

        assert replies == ["220", "220", "421", "220"]
