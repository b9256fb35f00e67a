"""A message goes out to a real Postfix, and its report comes back in through port 25."""

import asyncio
import random
import smtplib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.token_key_file import TokenKeyFile
from shared.domain.ids import draw_ids
from shared.domain.message import Direction
from shared.store.keys import message_key
from shared.store.servers import Servers
from shared.tokens import Named, Tokens, read_keys
from tests.e2e.harness import DOMAIN, Installation, running, until
from tests.e2e.postfix_bouncing import postfix_bouncing
from tests.e2e.postfix_relay import ADDRESS, _free_port
from tests.e2e.test_webhooks import Receiver, endpoint
from tests.fakes.inward import dsn

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-postfix-bounces")]

KEPT = "kept@dest.test"
BOUNCES = 40


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that lives as long as the test."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """One whose mail all goes to a Postfix that reports to its port 25; returned with nothing sent."""
    port = _free_port()
    with postfix_bouncing("127.0.0.1", port) as postfix:
        settings = {
            "smtp_port": str(port),
            "smart_host": f"smtp://{ADDRESS}:{postfix}?tls=opportunistic",
            "allow_networks": "smtp:127.7.0.0/16,http:127.0.0.0/8",
        }
        with running(tmp_path, **settings) as found:
            yield found


class TestBounces:
    def test_a_report_marks_exactly_its_message_and_recipient(
        self, installation: Installation, receiver: Receiver
    ) -> None:
        """Out, back, read, told, suppressed; the neighbour's message is not touched."""
        with endpoint(installation, receiver.url):
            good = installation.send(KEPT)
            bad = installation.send("nobody@dest.test")
            installation.until_status(bad, "Bounced")
            until(lambda: "MessageBounced" in receiver.names(bad), "the webhook")

        bounced = next(each for each in receiver.bodies() if each["event"] == "MessageBounced")["payload"]
        assert bounced["original_message"]["id"] == bad
        assert bounced["bounce"]["recipient"] == "nobody@dest.test"
        assert (bounced["bounce"]["type"], bounced["bounce"]["code"]) == ("hard", "5.1.1")
        assert bounced["bounce"]["category"] == "unknown_user"
        assert installation.status(good) == "Sent"
        server = installation.secrets["server"]["permalink"]
        listed = installation.tree.run("suppression", "list", "--server", server)["suppressions"]
        assert [each["address"] for each in listed] == ["nobody@dest.test"]

    def test_forgeries_and_other_mail_change_nothing(self, installation: Installation) -> None:
        """Guesses are refused in the session; what has our address and says something else is kept, and no more."""
        sent, other = installation.send(KEPT), installation.send("Kept@dest.test")
        for each in (sent, other):
            installation.until_status(each, "Sent")
        own, bare = f"{token_of(installation, sent)}@rp.localhost", f"{server_token(installation)}@psrp.{DOMAIN}"
        guess = f"{own[:20]}{'a' if own[20] != 'a' else 'b'}{own[21:]}"

        assert report(installation, guess, dsn(KEPT)) == 550
        for address, raw in (
            (own, dsn("victim@dest.test")),
            (own, dsn(KEPT, action="delayed", status="4.4.1")),
            (own, dsn(KEPT, action="relayed", status="2.0.0")),
            (bare, dsn(KEPT)),
            (bare, dsn(KEPT, head=f"X-Edgepost-Report: {'a' * 39}")),
        ):
            assert report(installation, address, raw) == 250

        # A real one behind them, so that everything before it has been looked at.
        assert report(installation, bare, dsn(KEPT, head=f"X-Edgepost-Report: {own.partition('@')[0]}")) == 250
        installation.until_status(sent, "Bounced")
        assert installation.status(other) == "Sent"

    def test_what_was_answered_with_250_survives_a_kill(self, installation: Installation) -> None:
        """Kill -9 between 250 and everything else: the bounce is told of, once."""
        sent = installation.send(KEPT)
        installation.until_status(sent, "Sent")
        address = f"{token_of(installation, sent)}@rp.localhost"

        assert report(installation, address, dsn(KEPT)) == 250
        installation.tree.kill()
        installation.tree.start()

        assert report(installation, address, dsn(KEPT)) == 250
        installation.until_status(sent, "Bounced")

    def test_kills_while_bounces_come_in_lose_and_double_none(self, installation: Installation) -> None:
        """Clients repeat what was not answered with 250, as mail systems do; each bounce is there once."""
        recipients = [f"kept+{number}@dest.test" for number in range(BOUNCES)]
        sent = {each: installation.send(each) for each in recipients}
        for message_id in sent.values():
            installation.until_status(message_id, "Sent")

        with ThreadPoolExecutor(4) as senders:
            tasks = [
                senders.submit(report_until_taken, installation, token_of(installation, message_id), recipient)
                for recipient, message_id in sent.items()
            ]
            for share in range(1, 4):
                until(lambda s=share: sum(task.done() for task in tasks) >= s * BOUNCES // 5, "bounces to be taken")
                installation.kill_part("receive")
            for task in tasks:
                task.result()

        for message_id in sent.values():
            installation.until_status(message_id, "Bounced")
        kept = asyncio.run(kept_subjects(installation))
        assert kept == dict.fromkeys(sent, 1)


def report_until_taken(installation: Installation, token: str, recipient: str) -> None:
    """Send a bounce, again and again with the same bytes, until it is answered with 250."""
    raw = dsn(recipient, unique=recipient).replace(b"Undelivered Mail Returned to Sender", recipient.encode())

    def taken() -> bool:
        try:
            return report(installation, f"{token}@rp.localhost", raw) == 250
        except (OSError, smtplib.SMTPException):
            return False

    until(taken, f"the bounce of {recipient} to be taken")


async def kept_subjects(installation: Installation) -> dict[str, int]:
    """Return how many mails with each subject have come in to the first server."""
    found: Counter[str] = Counter()
    with installation.stores() as stores:
        server = await Servers(stores.records).get(installation.secrets["server"]["id"])
        assert server is not None
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        for moment in (now - hour, now):
            [message_id] = draw_ids(moment, 1, random.Random(0))
            partition = message_key(server, Direction.INCOMING, message_id).partition
            page = await stores.records.query(partition, limit=1000)
            found.update(str(item["subject"]) for _, item in page.items)
    return dict(found)


def report(installation: Installation, address: str, raw: bytes) -> int:
    """Send a report to port 25 and return the code of the last answer."""
    with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], timeout=30) as client:
        client.ehlo("mx.dest.test")
        client.mail("")
        code, _ = client.rcpt(address)
        return code if code != 250 else client.data(raw)[0]


def token_of(installation: Installation, message_id: int) -> str:
    """Return the return-path token of a message of the first server."""
    text = TokenKeyFile(installation.tree.data_dir).read()
    assert text is not None
    return Tokens(read_keys(text)).return_path(Named(installation.secrets["server"]["id"], message_id))


def server_token(installation: Installation) -> str:
    """Return the first server's token, which stands in Postal's return paths."""
    return str(installation.tree.run("server", "show", installation.secrets["server"]["permalink"])["token"])
