"""SMTP smuggling in: never a second message, whatever some host takes for the end of one."""

import pytest

from shared.domain.tenancy import CredentialType
from tests.dialogue.door import GRANT, RecordingInside, open_doors
from tests.dialogue.wire import Wire

FALSE_ENDS = [
    b"\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]
SECOND = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"
FIRST = b"From: a@example.com\r\nSubject: first\r\n\r\nhello"


async def send_message(wire: Wire, raw: bytes) -> str:
    """Send an envelope and these bytes after DATA; return the reply."""
    assert (await wire.say("MAIL FROM:<a@example.com>")).startswith("250")
    assert (await wire.say("RCPT TO:<b@example.net>")).startswith("250")
    assert (await wire.say("DATA")).startswith("354")
    await wire.send(raw)
    return await wire.reply()


class TestSmugglingIn:
    @pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
    @pytest.mark.parametrize("port", ["smtp", "submission", "submissions"])
    async def test_no_false_end_lets_a_second_message_in(self, end: bytes, port: str) -> None:
        """CVE-2023-51764 and its family: one message or none, and what follows is never read."""
        inside = RecordingInside()
        inside.network_grant = GRANT  # so that port 25 takes mail at all
        async with open_doors(inside=inside) as doors:
            wire = await doors.connect(port)
            await wire.reply()
            await wire.say("EHLO client.example.test")

            reply = await send_message(wire, FIRST + end + SECOND + b"NOOP\r\n")
            rest = await wire.rest()

        assert inside.submissions == []
        assert reply.startswith("550 5.6.0")
        assert rest == ""

    @pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
    async def test_a_false_end_alone_ends_nothing(self, end: bytes) -> None:
        """The sequence is content: the message goes on until CRLF . CRLF."""
        async with open_doors() as doors:
            wire = await doors.connect("submissions")
            await wire.reply()
            await wire.log_in()

            reply = await send_message(wire, FIRST + end + b"more\r\n.\r\n")

        assert reply.startswith("550 5.6.0")
        assert doors.inside.submissions == []

    @pytest.mark.parametrize("split", range(len(FIRST) + 5))
    async def test_the_true_end_is_found_wherever_packets_are_cut(self, split: int) -> None:
        """TCP may cut CRLF . CRLF anywhere."""
        raw = FIRST + b"\r\n.\r\n"
        async with open_doors() as doors:
            wire = await doors.connect("submissions")
            await wire.reply()
            await wire.log_in()
            await wire.say("MAIL FROM:<a@example.com>")
            await wire.say("RCPT TO:<b@example.net>")
            await wire.say("DATA")

            await wire.send(raw[:split])
            await wire.send(raw[split:])
            reply = await wire.reply()

        assert reply.startswith("250")
        assert [each.raw for each in doors.inside.submissions] == [FIRST + b"\r\n"]

    async def test_commands_behind_a_good_end_are_commands(self) -> None:
        """RFC 2920 allows it, and they act under the same login only."""
        async with open_doors() as doors:
            wire = await doors.connect("submissions")
            await wire.reply()
            await wire.log_in()

            first = await send_message(wire, FIRST + b"\r\n.\r\n" + SECOND)
            replies = [await wire.reply() for _ in range(4)]

        assert first.startswith("250")
        assert [each[:3] for each in replies] == ["250", "250", "354", "250"]
        assert {each.credential.type for each in doors.inside.submissions} == {CredentialType.SMTP}
        assert len(doors.inside.submissions) == 2
