"""Connections, logins and bytes without end: the others are still served."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from smtp_node.receive.gate import client_at
from smtp_node.receive.session import FREE_COMMANDS
from tests.dialogue.door import LIMITS, Doors, open_doors
from tests.dialogue.wire import Wire, plain
from tests.fakes.eventually import eventually


async def greet(doors: Doors, port: str) -> Wire:
    """Connect and read the greeting."""
    wire = await doors.connect(port)
    assert (await wire.reply()).startswith("220")
    return wire


class TestConnections:
    async def test_above_the_total_a_client_is_asked_to_come_back(self) -> None:
        """421 4.3.2 is temporary: the client's mail is not lost."""
        async with open_doors(replace(LIMITS, max_connections=2)) as doors:
            held = [await greet(doors, "smtp"), await greet(doors, "submission")]

            refused = await doors.connect("smtp")
            reply = await refused.reply()
            await held[0].say("QUIT")
            await held[0].rest()
            again = await greet(doors, "smtp")

            assert reply.startswith("421 4.3.2")
            assert (await again.say("NOOP")).startswith("250")

    async def test_port_465_counts_before_the_handshake(self) -> None:
        """A client that connects and says nothing must not go uncounted."""
        async with open_doors(replace(LIMITS, max_connections=1)) as doors:
            silent = await Wire.to(doors.ports["submissions"], tls=False)
            await asyncio.sleep(0.05)

            with pytest.raises(OSError):  # noqa: PT011 - which one depends on who closes first
                await greet(doors, "submissions")

            await silent.close()
            await asyncio.sleep(0.05)
            assert (await (await greet(doors, "submissions")).say("NOOP")).startswith("250")

    async def test_hundreds_of_idle_connections_leave_room(self) -> None:
        """Loopback may hold all connections, and each costs little."""
        async with open_doors() as doors:
            idle = await asyncio.gather(*(greet(doors, "smtp") for _ in range(300)))

            wire = await greet(doors, "submissions")
            reply = await wire.log_in()

            assert doors.service.connections == 301
            assert reply.startswith("235")
            assert len(idle) == 300

    async def test_a_probe_leaves_no_trace(self, caplog: pytest.LogCaptureFixture) -> None:
        """Load balancers connect and close all day: nobody must be woken for it."""
        async with open_doors() as doors:
            for _ in range(30):
                for port in doors.ports.values():
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.transport.abort()
            await asyncio.sleep(0.1)

            assert (await greet(doors, "smtp")) is not None

        assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []

    async def test_a_client_that_never_reads_is_dropped(self) -> None:
        """Replies that nobody reads must not pile up (attack S17)."""
        limits = replace(LIMITS, idle=timedelta(seconds=0.3), max_junk=10_000_000, max_errors=10_000_000)
        async with open_doors(limits) as doors:
            wire = await greet(doors, "smtp")
            wire.reader._transport.pause_reading()

            wire.writer.write(b"HELP\r\n" * 2_000_000)

            await eventually(lambda: not doors.service.connections)


class TestChatter:
    async def test_many_commands_at_once_are_obeyed_one_by_one(self) -> None:
        """Pipelined chatter of many clients must not stand before an ordinary client's next command."""
        async with open_doors() as doors:
            wires = [await greet(doors, "smtp") for _ in range(5)]
            seen = []
            for wire in wires:
                wire.writer.write(b"NOOP\r\n" * 90)
            while not seen or seen[-1] < 5 * 90:
                await asyncio.sleep(0)
                seen.append(sum(count for name, count in doors.meter.counts.items() if "NOOP" in name))

        steps = [after - before for before, after in pairwise(seen)]
        assert max(steps) <= (FREE_COMMANDS + 1) * len(wires)
        assert sum(step == 1 for step in steps) > 300


class TestLogins:
    async def test_many_wrong_keys_are_throttled_and_a_good_one_still_works(self) -> None:
        """Neighbours behind one address must not be locked out by one broken script."""
        limits = replace(LIMITS, throttle_after=4, failed_login_delay=timedelta(0))
        async with open_doors(limits) as doors:
            replies = []
            for attempt in range(10):
                wire = await greet(doors, "submissions")
                replies.append(await wire.log_in(f"wrong-{attempt}"))
                await wire.close()

            good = await greet(doors, "submissions")

            assert [each[:3] for each in replies] == ["535"] * 3 + ["421"] * 7
            assert (await good.log_in()).startswith("235")

    async def test_all_failures_take_the_same_time(self) -> None:
        """The time of an answer must not tell a wrong key from a missing one."""
        limits = replace(LIMITS, failed_login_delay=timedelta(seconds=0.2), max_login_failures=10)
        async with open_doors(limits) as doors:
            wire = await greet(doors, "submissions")
            await wire.say("EHLO client.example.test")
            loop = asyncio.get_running_loop()
            took = []
            for key in ("", "x", "x" * 500):
                began = loop.time()
                assert (await wire.say("AUTH PLAIN " + plain(key))) == "535 5.7.8 Invalid credential"
                took.append(loop.time() - began)

        assert min(took) >= 0.2

    async def test_keys_are_never_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not by us and not by the library below."""
        caplog.set_level(logging.DEBUG)
        async with open_doors() as doors:
            wire = await greet(doors, "submissions")
            await wire.log_in("very-secret")
            await wire.say("AUTH PLAIN " + plain("good-key"))

        assert "secret" not in caplog.text
        assert plain("very-secret") not in caplog.text
        assert plain("good-key") not in caplog.text


class TestBytes:
    async def test_a_message_far_over_the_limit_costs_no_memory(self) -> None:
        """The client is heard out so that it sees the 552, but nothing is kept."""
        async with open_doors(replace(LIMITS, max_message_bytes=100_000)) as doors:
            wire = await greet(doors, "submissions")
            await wire.log_in()
            await wire.say("MAIL FROM:<a@example.com> SIZE=1")
            await wire.say("RCPT TO:<b@example.net>")
            await wire.say("DATA")
            memory = doors.service._house.memory

            most = 0
            for _ in range(300):
                await wire.send(b"x" * 62 + b"\r\n" + b"y" * 9998 + b"\r\n")
                most = max(most, memory.held_bytes)
            await wire.send(b".\r\n")
            reply = await wire.reply()

            assert reply.startswith("552 5.3.4")
            assert most <= 110_000
            assert memory.held_bytes == 0
            assert doors.inside.submissions == []

    async def test_a_message_without_end_is_cut(self) -> None:
        """Draining has a limit too."""
        limits = replace(LIMITS, max_message_bytes=1000, max_drained_bytes=100_000)
        async with open_doors(limits) as doors:
            wire = await greet(doors, "submissions")
            await wire.log_in()
            await wire.say("MAIL FROM:<a@example.com>")
            await wire.say("RCPT TO:<b@example.net>")
            await wire.say("DATA")

            wire.writer.write(b"x" * 1_000_000)
            reply = await wire.reply()

            assert reply.startswith("552 5.3.4")
            assert await wire.rest() == ""

    async def test_50000_recipients_stay_bounded(self) -> None:
        """452 beyond the limit, and the session ends when the client does not listen."""
        async with open_doors(replace(LIMITS, max_recipients=100, recipient_overshoot=50)) as doors:
            wire = await greet(doors, "submissions")
            await wire.log_in()
            await wire.say("MAIL FROM:<a@example.com>")

            wire.writer.write(b"".join(b"RCPT TO:<b%d@example.net>\r\n" % each for each in range(50_000)))
            text = await wire.rest()

            codes = [line[:3] for line in text.splitlines()]
            assert codes.count("250") == 100
            # The connection is reset by what the client still sends: it may not see the last replies.
            assert 50 <= codes.count("452") <= 50 + LIMITS.max_errors + 1
            assert set(codes) <= {"250", "452", "421"}


class TestClientAt:
    @pytest.mark.parametrize(
        ("host", "network", "loopback"),
        [
            ("192.0.2.1", "192.0.2.1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", False),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", False),
            ("fe80::1%eth0", "fe80::/64", False),
            ("127.0.0.5", "127.0.0.5", True),
            ("::1", "::/64", True),
        ],
    )
    def test_limits_count_by_what_one_customer_owns(self, host: str, network: str, loopback: bool) -> None:
        """An IPv6 customer has 2**64 addresses to hop through."""
        assert (client_at(host).network, client_at(host).loopback) == (network, loopback)


async def greeting_elsewhere(doors: Doors) -> bytes:
    """Return what a client at another address hears first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.ports["smtp"], local_addr=("127.0.0.2", 0))
    greeting = await reader.readline()
    writer.close()
    return greeting


class TestTrouble:
    async def test_whose_sessions_end_badly_is_greeted_later_and_others_at_once(self) -> None:
        """A client that is sent away may not come back at once and for ever (attack S17)."""
        limits = replace(LIMITS, trouble_after=3, trouble_pause=timedelta(hours=1), max_junk=5)
        async with open_doors(limits) as doors:
            for _ in range(3):
                wire = await greet(doors, "smtp")
                await wire.send(b"NOOP\r\n" * 10)
                assert "421 4.7.0" in await wire.rest()

            waiting = await doors.connect("smtp")

            assert (await greeting_elsewhere(doors)).startswith(b"220")
            assert waiting.reader._buffer == b""

    @pytest.mark.parametrize("raw", [b"X-A: b\r\n" * 100_000, b"Subject: x\r\n\r\na\nb\r\n"])
    async def test_messages_that_cost_without_being_mail_count(self, raw: bytes) -> None:
        """One each in a session of its own is as bad as many in one."""
        limits = replace(LIMITS, trouble_after=1, trouble_pause=timedelta(hours=1))
        async with open_doors(limits) as doors:
            wire = await greet(doors, "submissions")
            await wire.log_in()
            for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"):
                await wire.say(command)
            await wire.send(raw + b"\r\n.\r\n")
            assert (await wire.reply())[:1] == "5"

            waiting = await doors.connect("smtp")

            assert (await greeting_elsewhere(doors)).startswith(b"220")
            assert waiting.reader._buffer == b""
