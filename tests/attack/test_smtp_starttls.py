"""Commands put behind STARTTLS in clear must not be run as if they came encrypted."""

import pytest
import uvloop

from tests.dialogue.door import Doors, RecordingInside, open_doors
from tests.dialogue.wire import plain

INJECTED = [
    b"MAIL FROM:<evil@example.com>\r\n",
    b"EHLO evil.example\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nevil\r\n.\r\n",
    b"AUTH PLAIN " + plain("good-key").encode() + b"\r\n",
    b"RSET\r\n",
    b"no line end",
]


class TestStartTLS:
    @pytest.mark.parametrize("behind", INJECTED, ids=range(len(INJECTED)))
    @pytest.mark.parametrize("port", ["smtp", "submission"])
    async def test_what_came_in_clear_is_forgotten(self, behind: bytes, port: str) -> None:
        """CVE-2011-0411, CVE-2024-34083; a client that did this sees a broken handshake or no effect."""
        async with open_doors() as doors:
            await injected(doors, port, behind)

        assert doors.inside.submissions == []
        assert doors.inside.keys_tried == []

    @pytest.mark.parametrize("behind", INJECTED, ids=range(len(INJECTED)))
    def test_the_same_on_uvloop(self, behind: bytes) -> None:
        """The other loop has other transports."""
        inside = RecordingInside()

        async def attack() -> None:
            async with open_doors(inside=inside) as doors:
                await injected(doors, "submission", behind)

        uvloop.run(attack())

        assert inside.submissions == []
        assert inside.keys_tried == []

    async def test_the_login_does_not_outlive_the_handshake(self) -> None:
        """RFC 3207 §4.2: all knowledge from before is discarded."""
        async with open_doors() as doors:
            wire = await doors.connect("submission")
            await wire.reply()
            await wire.say("EHLO client.example.test")

            await wire.start_tls()

            assert (await wire.say("MAIL FROM:<a@example.com>")).startswith("503 5.5.1")
            assert (await wire.log_in()).startswith("235")


async def injected(doors: Doors, port: str, behind: bytes) -> None:
    """Send STARTTLS with bytes behind it, then act as an honest client would."""
    wire = await doors.connect(port)
    await wire.reply()
    await wire.say("EHLO client.example.test")
    try:
        await wire.start_tls(behind=behind)
        reply = await wire.say("MAIL FROM:<a@example.com>")
    except OSError:
        return  # the bytes were read as a TLS record: the handshake is over
    assert reply.startswith("503 5.5.1"), reply
