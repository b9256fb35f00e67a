"""Requests to addresses that customers choose: nothing inside is reached, nothing hostile is waited for."""

import asyncio
import gzip
import ssl
from datetime import timedelta
from ipaddress import ip_network

import pytest

from shared.adapters.http_out import BAD_CERTIFICATE, NO_ADDRESS, REFUSED, TIMED_OUT, AiohttpOut, HTTPLimits
from shared.network import MAX_ANSWER_BYTES, HTTPAnswer
from tests.fakes.certificate import self_signed
from tests.fakes.http import Listener, listening
from tests.fakes.resolver import FakeResolver

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
QUICK = HTTPLimits(connect_s=1, total_s=0.5)

INSIDE = {
    "rebound.test": ["8.8.8.8", "127.0.0.1"],
    "inside.test": ["127.0.0.1"],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "six2four.test": ["2002:7f00:1::"],
    "metadata.test": ["169.254.169.254"],
    "any.test": ["0.0.0.0"],
}


async def post(
    url: str, *, limits: HTTPLimits | None = None, inside: bool = True, timeout_s: float | None = None
) -> HTTPAnswer:
    """Send one request."""
    http = AiohttpOut(FakeResolver(addresses=INSIDE), allowed=LOOPBACK if inside else (), limits=limits)
    try:
        return await http.post(url, headers={"X-A": "b"}, body=b"{}", timeout_s=timeout_s)
    finally:
        await http.close()


class TestGuard:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "0",
            "0.0.0.0",
            "①②⑦.⓪.⓪.①",
            "localhost",
            "localhost.",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "user@127.0.0.1",
            "inside.test",
            "six.test",
            "mapped.test",
            "nat64.test",
            "six2four.test",
            "any.test",
        ],
    )
    async def test_nothing_inside_is_reached(self, host: str) -> None:
        """Judged is the address of the socket, whatever it was called (attacks H4-H6): no hit on a listener here."""
        async with listening() as listener:
            answer = await post(f"http://{host}:{listener.port}/", inside=False, limits=QUICK)

        assert (listener.connections, answer.status) == (0, 0)

    async def test_a_name_with_one_bad_address_reaches_only_the_good_one(self) -> None:
        """An attacker's DNS mixes them; none of the tries may go inside."""
        async with listening() as listener:
            await post(f"http://rebound.test:{listener.port}/", inside=False, limits=QUICK)

        assert listener.connections == 0

    async def test_says_only_that_it_may_not(self) -> None:
        """An answer that differs tells what listens inside."""
        async with listening() as listener:
            answers = [await post(f"http://127.0.0.1:{port}/", inside=False) for port in (listener.port, 1)]

        assert {each.error for each in answers} == {REFUSED}

    async def test_a_network_that_the_operator_opened_is_reached(self) -> None:
        """By address, by name, and as localhost."""
        async with listening() as listener:
            for host in ("127.0.0.1", "inside.test", "localhost"):
                assert (await post(listener.url(host=host))).status == 200

    async def test_metadata_is_not_opened_by_its_range(self) -> None:
        """169.254.0.0/16 counts only address by address."""
        http = AiohttpOut(FakeResolver(addresses=INSIDE), allowed=(ip_network("169.254.0.0/16"),), limits=QUICK)

        answer = await http.post("http://metadata.test/latest/", headers={}, body=b"")
        await http.close()

        assert answer.error == REFUSED

    async def test_unknown_names_are_said_to_be_unknown(self) -> None:
        """That helps whoever mistyped it."""
        assert (await post("http://nowhere.test/")).error == NO_ADDRESS


class TestAnswers:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_answers(self, status: int) -> None:
        """A redirect is how an address inside would be reached after all."""
        async with listening() as other:
            raw = f"HTTP/1.1 {status} x\r\nLocation: {other.url()}\r\nContent-Length: 0\r\n\r\n".encode()
            async with listening(raw) as listener:
                answer = await post(listener.url())

        assert (answer.status, answer.headers["location"], other.connections) == (status, other.url(), 0)

    async def test_endless_answer_is_cut_and_counts(self) -> None:
        """Its status came first: the event was taken."""

        async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

        async with listening(flood) as listener:
            answer = await post(listener.url())

        assert (answer.status, len(answer.body)) == (200, MAX_ANSWER_BYTES)

    async def test_a_bomb_stays_small(self) -> None:
        """Nothing is decompressed."""
        bomb = gzip.compress(bytes(50_000_000))
        raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        async with listening(raw + bomb) as listener:
            answer = await post(listener.url())

        assert len(answer.body) <= len(bomb)
        assert answer.body.startswith(b"\x1f\x8b")

    @pytest.mark.parametrize(
        "raw",
        [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000],
        ids=["silence", "head", "endless header"],
    )
    async def test_a_hang_ends(self, raw: bytes) -> None:
        """Whoever does not answer in time has not answered."""

        async def hang(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(raw)
            await writer.drain()
            await asyncio.sleep(60)

        async with listening(hang) as listener:
            answers = [
                await post(listener.url(), limits=QUICK),
                await post(listener.url(), timeout_s=0.5),  # the caller's own limit in place of the usual one
            ]

        assert [(each.status, each.error) for each in answers] == [(0, TIMED_OUT)] * 2

    async def test_a_body_that_trickles_is_cut_and_counts(self) -> None:
        """One byte now and then must hold no connection for ever."""

        async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with listening(trickle) as listener:
            answer = await post(listener.url(), limits=QUICK)

        assert answer.status == 200
        assert answer.took < timedelta(seconds=5)

    @pytest.mark.parametrize(
        "raw",
        [b"nonsense\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40_000],
    )
    async def test_what_is_no_http_is_no_answer(self, raw: bytes) -> None:
        """Nothing that a peer sends is an error of ours."""
        async with listening(raw) as listener:
            answer = await post(listener.url(), limits=QUICK)

        assert (answer.status, bool(answer.error)) == (0, True)

    async def test_certificates_are_verified(self) -> None:
        """A signature says who we are, the certificate who they are."""
        certificate, key = self_signed()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)

        answer = await post(f"https://localhost:{server.sockets[0].getsockname()[1]}/")
        server.close()

        assert (answer.status, answer.error) == (0, BAD_CERTIFICATE)


class TestConnections:
    async def test_are_kept_and_replaced(self) -> None:
        """One handshake for many events; a connection that went away meanwhile costs no event."""
        http = AiohttpOut(FakeResolver(), allowed=LOOPBACK)

        async def once_more(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
            await writer.drain()
            if len(seen) == 2:
                writer.transport.abort()
            seen.append(request)

        seen: list[bytes] = []
        async with listening(once_more) as listener:
            statuses = [(await http.post(listener.url(), headers={}, body=b"x")).status for _ in range(6)]
            connections = connections_of(listener)
        await http.close()

        assert statuses == [200] * 6
        assert connections <= 3


def connections_of(listener: Listener) -> int:
    """Return how many connections were opened."""
    return listener.connections
