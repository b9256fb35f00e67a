"""What is handed in, what is answered, and how the door is closed."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
import uvloop

from shared.domain.errors import MailError, SenderNotAllowed, StillInProgress, StorageUnavailable
from shared.domain.message import Origin, Via
from shared.settings import Settings
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.off_loop import QUICK_BYTES
from smtp_node.receive.taking import MOST_IN_WORK
from tests.dialogue.door import GRANT, LIMITS, Doors, RecordingInside, open_doors
from tests.dialogue.wire import Wire
from tests.fakes.eventually import eventually

RAW = b"From: a@example.com\r\nSubject: hi\r\n\r\nhello\r\n"


async def logged_in(doors: Doors) -> Wire:
    """Return a submission session after AUTH."""
    wire = await doors.connect("submissions")
    await wire.reply()
    assert (await wire.log_in()).startswith("235")
    return wire


async def begin(wire: Wire, sender: str = "a@example.com", recipients: tuple[str, ...] = ("b@example.net",)) -> None:
    """Say the envelope and DATA."""
    assert (await wire.say(f"MAIL FROM:<{sender}>")).startswith("250")
    for each in recipients:
        assert (await wire.say(f"RCPT TO:<{each}>")).startswith("250")
    assert (await wire.say("DATA")).startswith("354")


async def deliver(wire: Wire, raw: bytes = RAW, **envelope: str) -> str:
    """Send a whole message and return the reply to it."""
    await begin(wire, **envelope)
    await wire.send(raw + b".\r\n")
    return await wire.reply()


class TestSubmission:
    async def test_has_envelope_origin_and_bytes(self) -> None:
        """Everything that accept needs, as the client gave it."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            await begin(wire, recipients=("b@example.net", "c@EXAMPLE.net", "b@example.net"))
            await wire.send(RAW + b".\r\n")
            await wire.reply()

        submission = doors.inside.submissions[0]
        assert submission.mail_from == "a@example.com"
        assert list(submission.recipients) == ["b@example.net", "c@example.net"]
        assert submission.raw == RAW
        assert submission.tenant == GRANT.tenant
        assert submission.origin == Origin(Via.ESMTPSA, "127.0.0.1", "client.example.test", "client.example.test")
        assert not submission.bounce

    async def test_a_null_sender_is_a_bounce(self) -> None:
        """RFC 5321 §4.5.5: nobody may answer it."""
        async with open_doors() as doors:
            await deliver(await logged_in(doors), sender="")

        assert doors.inside.submissions[0].bounce
        assert doors.inside.submissions[0].mail_from == ""

    async def test_digest_tells_messages_apart_and_repeats_together(self) -> None:
        """An Idempotency-Key works only for the same message to the same people."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            for raw, sender in ((RAW, "a@example.com"), (RAW, "a@example.com"), (RAW, ""), (RAW + b"x\r\n", "")):
                await deliver(wire, raw, sender=sender)

        first, second, third, fourth = (each.request_digest for each in doors.inside.submissions)
        assert first == second
        assert len({first, third, fourth}) == 3

    @pytest.mark.parametrize(("port", "via"), [("smtp", Via.ESMTP), ("submissions", Via.ESMTPS)])
    async def test_a_network_may_send_without_login(self, port: str, via: Via) -> None:
        """SMTP-IP credentials, as in Postal, at any port."""
        inside = RecordingInside()
        inside.network_grant = GRANT
        async with open_doors(inside=inside) as doors:
            wire = await doors.connect(port)
            await wire.reply()
            await wire.say("EHLO client.example.test")
            reply = await deliver(wire)

        assert reply.startswith("250")
        assert inside.submissions[0].origin.via is via

    async def test_a_revoked_key_stops_at_the_next_message(self) -> None:
        """Sessions last for hours, credentials may not."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            assert (await deliver(wire)).startswith("250")

            doors.inside.revoked = True
            await wire.say("MAIL FROM:<a@example.com>")
            reply = await wire.say("RCPT TO:<b@example.net>")

        assert reply.startswith("530 5.7.0")


class TestHeader:
    async def test_over_its_limit_is_refused_and_the_session_goes_on(self) -> None:
        """Nothing of it is stored."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            refused = await deliver(wire, b"X-A: b\r\n" * 100_000 + b"\r\nx\r\n")
            taken = await deliver(wire)

        assert refused == "552 5.3.4 Message header too large (maximum size 512KB)"
        assert taken.startswith("250")
        assert len(doors.inside.submissions) == 1


class TestAnswers:
    @pytest.mark.parametrize(
        ("error", "reply"),
        [
            (SenderNotAllowed("from x"), "530 5.7.1 From/Sender name is not valid"),
            (StorageUnavailable("db"), "451 4.3.0 Storage is not available, please try again"),
            (RuntimeError("secret"), "451 4.3.0 Temporary failure, please try again"),
            (OSError(28, "No space left on device"), "451 4.3.0 Temporary failure, please try again"),
        ],
    )
    async def test_errors_get_their_reply_and_the_session_goes_on(self, error: Exception, reply: str) -> None:
        """One message's trouble is not the next one's, and nothing internal is shown."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            doors.inside.error = error
            first = await deliver(wire)
            doors.inside.error = None
            second = await deliver(wire)

        assert first == reply
        assert second.startswith("250 2.0.0 OK queued as")

    async def test_unexpected_errors_are_logged_with_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        """The client is told nothing, so the log must tell all."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            doors.inside.error = RuntimeError("what happened")
            await deliver(wire)

        found = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert [each.message for each in found] == ["smtp_command_failed"]
        assert found[0].exc_info is not None

    @pytest.mark.parametrize(
        ("error", "level"), [(StorageUnavailable("down"), logging.ERROR), (StillInProgress("x"), logging.INFO)]
    )
    async def test_a_repetition_that_came_too_soon_is_no_trouble_of_ours(
        self, error: MailError, level: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody has to look at it: the client will come again."""
        caplog.set_level(logging.INFO)
        async with open_doors() as doors:
            wire = await logged_in(doors)
            doors.inside.error = error
            await deliver(wire)

        assert [each.levelno for each in caplog.records if each.name == "smtp_node.receive.taking"] == [level]

    async def test_counts_what_postal_counts(self) -> None:
        """Dashboards made for Postal keep working."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            await deliver(wire)
            await wire.say("NONSENSE")

        counts = doors.meter.counts
        assert counts["postal_smtp_server_connections_total",] == 1
        assert counts["postal_smtp_server_tls_connections_total",] == 1
        assert counts["postal_smtp_server_messages_total", "outgoing", "yes"] == 1
        assert counts["postal_smtp_server_client_errors", "invalid-command"] == 1
        assert counts["postal_smtp_server_commands_total", "DATA"] == 1
        assert counts["postal_smtp_server_commands_total", "other"] == 1


class TestBrokenOff:
    async def test_before_the_final_dot_nothing_is_handed_in(self) -> None:
        """Half a message is none."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            await begin(wire)
            await wire.send(RAW)
            await wire.close()
            await asyncio.sleep(0.05)

            assert doors.service.connections == 0

        assert doors.inside.submissions == []

    async def test_after_the_final_dot_the_message_is_still_stored_whole(self) -> None:
        """All or nothing, also when the client vanishes while we store."""
        inside = RecordingInside()
        inside.hold = asyncio.Event()
        async with open_doors(inside=inside) as doors:
            wire = await logged_in(doors)
            await begin(wire)
            await wire.send(RAW + b".\r\n")
            await asyncio.sleep(0.05)
            await wire.close()
            await asyncio.sleep(0.05)
            inside.hold.set()

        assert len(inside.submissions) == 1

    async def test_its_memory_counts_until_it_is_stored(self) -> None:
        """Else clients that hang up after the final dot could fill the memory with what nobody counts."""
        inside = RecordingInside()
        inside.hold = asyncio.Event()
        async with open_doors(inside=inside) as doors:
            house = doors.service._house
            wire = await logged_in(doors)
            await begin(wire)
            await wire.send(RAW + b"x\r\n" * QUICK_BYTES + b".\r\n")
            await eventually(lambda: house.large.held_bytes)
            await wire.close()
            await eventually(lambda: not doors.service.connections)

            counted = (house.memory.held_bytes, house.large.held_bytes)
            inside.hold.set()
            await eventually(lambda: inside.submissions)
            await eventually(lambda: not house.acceptances)

            assert min(counted) > QUICK_BYTES
            assert (house.memory.held_bytes, house.large.held_bytes) == (0, 0)


class TestLargeMessages:
    async def test_few_of_one_client_are_worked_on_at_once_and_small_ones_pass(self) -> None:
        """The others wait as they came, in one copy each; mail of ordinary size waits for nothing."""
        inside = RecordingInside()
        inside.hold = asyncio.Event()
        large = RAW + b"x\r\n" * QUICK_BYTES + b".\r\n"
        async with open_doors(inside=inside) as doors:
            house = doors.service._house
            wires = [await logged_in(doors) for _ in range(MOST_IN_WORK + 1)]
            for wire in wires:
                await begin(wire)
                await wire.send(large)
            await eventually(lambda: house.large.waiting == len(wires) - MOST_IN_WORK // 2)
            small = await logged_in(doors)
            await begin(small)
            await small.send(RAW + b".\r\n")
            await eventually(lambda: len(house.acceptances) == MOST_IN_WORK // 2 + 1)
            waiting = house.large.waiting

            inside.hold.set()
            replies = [await wire.reply() for wire in (small, *wires)]

        assert waiting == len(wires) - MOST_IN_WORK // 2
        assert {each[:3] for each in replies} == {"250"}

    async def test_a_message_without_room_is_asked_to_come_again(self) -> None:
        """452 4.3.1 after a wait: the client still has it."""
        inside = RecordingInside()
        inside.hold = asyncio.Event()
        limits = replace(LIMITS, work_wait=timedelta(0))
        async with open_doors(limits, inside) as doors:
            house = doors.service._house
            wires = [await logged_in(doors) for _ in range(MOST_IN_WORK // 2 + 1)]
            for wire in wires:
                await begin(wire)
                await wire.send(RAW + b"x\r\n" * QUICK_BYTES + b".\r\n")
                await eventually(lambda w=wire: house.large.held_bytes or w is not wires[0])
            reply = await wires[-1].reply()
            held = house.memory.held_bytes
            inside.hold.set()

        assert reply.startswith("452 4.3.1")
        assert held < len(wires) * len(RAW + b"x\r\n" * QUICK_BYTES)


class TestStop:
    @pytest.mark.parametrize("port", ["smtp", "submissions"])
    async def test_idle_sessions_are_sent_away(self, port: str) -> None:
        """421 4.3.2: the client comes back to the next process."""
        async with open_doors() as doors:
            wire = await doors.connect(port)
            await wire.reply()

            await doors.service.stop(timedelta(seconds=2))

            assert (await wire.reply()).startswith("421 4.3.2")
            assert await wire.rest() == ""
            with pytest.raises(OSError):  # noqa: PT011 - refused or reset
                await doors.connect(port)

    async def test_a_message_coming_in_is_finished(self) -> None:
        """No session is cut in DATA by a deployment."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            await begin(wire)
            await wire.send(RAW)

            stopping = asyncio.create_task(doors.service.stop(timedelta(seconds=5)))
            await asyncio.sleep(0.05)
            await wire.send(b".\r\n")

            assert (await wire.reply()).startswith("250 2.0.0")
            assert (await wire.reply()).startswith("421 4.3.2")
            await stopping

        assert len(doors.inside.submissions) == 1

    def test_drains_on_uvloop_too(self) -> None:
        """The loop that production runs on."""

        async def drain() -> list[str]:
            async with open_doors() as doors:
                wire = await logged_in(doors)
                await begin(wire)
                stopping = asyncio.create_task(doors.service.stop(timedelta(seconds=5)))
                await asyncio.sleep(0.05)
                await wire.send(RAW + b".\r\n")
                replies = [await wire.reply(), await wire.reply()]
                await stopping
                return replies

        assert [each[:3] for each in uvloop.run(drain())] == ["250", "421"]

    async def test_a_message_that_takes_too_long_is_cut(self) -> None:
        """Its client will send it again; the process must end."""
        async with open_doors() as doors:
            wire = await logged_in(doors)
            await begin(wire)

            await doors.service.stop(timedelta(seconds=0.1))

            assert await wire.rest() == ""


class TestManyAtOnce:
    async def test_large_messages_arrive_whole(self) -> None:
        """Row 26: concurrent large messages, byte for byte."""
        raw = b"Subject: big\r\n\r\n" + b".dots and text\r\n" * 150_000
        async with open_doors(replace(LIMITS, max_message_bytes=5_000_000)) as doors:

            async def one() -> str:
                wire = await logged_in(doors)
                return await deliver(wire, raw.replace(b"\r\n.", b"\r\n.."))

            answers = await asyncio.gather(*(one() for _ in range(5)))

        assert all(each.startswith("250") for each in answers)
        assert all(each.raw == raw for each in doors.inside.submissions)
        assert doors.service._house.memory.held_bytes == 0


class TestReceiveLimits:
    def test_follow_the_settings(self) -> None:
        """What the operator set is what the door does."""
        limits = ReceiveLimits.of(Settings(hostname="mx.example.test", max_message_bytes=1_000_000, max_connections=7))

        assert (limits.hostname, limits.max_message_bytes, limits.max_connections) == ("mx.example.test", 1_000_000, 7)
