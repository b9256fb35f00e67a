"""Reports as a real Postfix writes them are read right."""

import asyncio
import smtplib
from email.message import EmailMessage

import pytest

from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import Action, Kind, Reading
from tests.e2e.postfix_bouncing import postfix_bouncing
from tests.e2e.postfix_relay import ADDRESS
from tests.fakes.mx import SinkMX

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-postfix-bounces")]

SENDER = "rp@rp.edgepost.test"

CASES = {
    "nobody@dest.test": ("hard", "5.1.1", "unknown_user"),
    "full@dest.test": ("soft", "5.2.2", "mailbox_full"),
    "disabled@dest.test": ("hard", "5.2.1", "mailbox_disabled"),
    "spam@dest.test": ("hard", "5.7.1", "spam_block"),
    "gone@dest.test": ("hard", "5.1.6", "moved"),
    "alias@dest.test": ("hard", "5.1.1", "unknown_user"),
    "refused@dest.test": ("soft", "4.4.1", "connection"),
}


def send(port: int, recipients: list[str], options: list[str]) -> None:
    """Hand a message to Postfix."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "App <app@example.test>", ", ".join(recipients), "Hello"
    message["Message-ID"] = f"<{recipients[0].replace('@', '-')}@app.example.test>"
    message["X-Postal-MsgID"] = "Ab12Cd34Ef56Gh78"
    message.set_content("Hi.\n")
    with smtplib.SMTP(ADDRESS, port, timeout=30) as client:
        client.send_message(message, SENDER, recipients, rcpt_options=options)


async def reports(recipients: list[str], options: list[str]) -> list[Reading]:
    """Send, and return what came back to the sender until every recipient was told of, read."""
    found: list[Reading] = []
    async with SinkMX(host=ADDRESS) as sink:
        with postfix_bouncing(sink.host, sink.port) as port:
            await asyncio.to_thread(send, port, recipients, options)
            for _ in range(300):
                found = [read_bounce(each.raw) for each in sink.transactions if each.rcpts == [SENDER]]
                if sum(len(each.recipients) for each in found) >= len(recipients):
                    break
                await asyncio.sleep(0.1)
    return found


class TestPostfix:
    async def test_every_kind_of_failure_is_told_apart(self) -> None:
        """A report names the recipients that failed together, each with its own reason."""
        found = await reports(list(CASES), [])

        assert {each.kind for each in found} == {Kind.BOUNCE}
        assert {name for each in found for name in each.originals.tokens} == {"Ab12Cd34Ef56Gh78"}
        assert {
            each.recipient: (each.type.value, each.code, each.category.value) for one in found for each in one.bounced
        } == CASES

    async def test_success_is_no_bounce(self) -> None:
        """RFC 3461: whoever asked for it gets a report of a relayed message."""
        found = await reports(["friend@dest.test"], ["NOTIFY=SUCCESS"])

        assert [(each.kind, [one.action for one in each.recipients]) for each in found] == [
            (Kind.DELIVERED, [Action.RELAYED])
        ]
