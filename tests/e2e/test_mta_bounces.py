"""Real mail systems report to port 25: to the address of the message, without it, and with a Message-ID alone."""

import smtplib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import pytest

from shared.domain.headers import split_head, without
from tests.e2e.exim_bouncing import exim_bouncing
from tests.e2e.harness import DOMAIN, Installation, running, until
from tests.e2e.opensmtpd_bouncing import opensmtpd_bouncing
from tests.e2e.postfix_bouncing import postfix_bouncing
from tests.e2e.postfix_relay import ADDRESS, _free_port
from tests.e2e.sinks import sink
from tests.e2e.test_bounces import server_token
from tests.fakes.mx import SinkMX

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-postfix-bounces")]

MTA: TypeAlias = Callable[[str, int], AbstractContextManager[int]]

MTAS = pytest.mark.parametrize(
    "mta", [postfix_bouncing, exim_bouncing, opensmtpd_bouncing], ids=lambda mta: mta.__name__
)
OURS = (b"X-Edgepost-Report", b"X-Postal-MsgID", b"Return-Path")
ALLOWED = "smtp:127.0.0.0/8"


@pytest.fixture
def relay() -> Iterator[SinkMX]:
    """A host between Edgepost and the mail system; what it passes on is up to the test."""
    with sink() as made:
        yield made


def suppressed(installation: Installation) -> list[str]:
    """Return the addresses that the first server sends nothing to any more."""
    server = installation.secrets["server"]["permalink"]
    listed = installation.tree.run("suppression", "list", "--server", server)["suppressions"]
    return sorted(each["address"] for each in listed)


def pass_on(relay: SinkMX, recipient: str, port: int, sender: str, *, drop: tuple[bytes, ...] = ()) -> None:
    """Hand what came for a recipient to a mail system, from another sender and without some fields."""
    found = until(lambda: [each for each in relay.transactions if each.rcpts == [recipient]], f"mail for {recipient}")
    raw = found[0].raw
    with smtplib.SMTP(ADDRESS, port, timeout=30) as client:
        client.sendmail(sender, [recipient], without(raw, split_head(raw), drop))


class TestReports:
    @MTAS
    def test_a_report_marks_exactly_its_message_and_recipient(self, mta: MTA, tmp_path: Path) -> None:
        """Out to the mail system, and back to the signed address."""
        port = _free_port()
        with mta("127.0.0.1", port) as there:
            smart_host = f"smtp://{ADDRESS}:{there}?tls=opportunistic"
            with running(tmp_path, smtp_port=str(port), smart_host=smart_host, allow_networks=ALLOWED) as installation:
                kept, bounced = (installation.send(f"{name}@dest.test") for name in ("kept", "nobody"))
                installation.until_status(bounced, "Bounced")

                assert installation.status(kept) == "Sent"
                assert suppressed(installation) == ["nobody@dest.test"]

    @MTAS
    def test_a_report_that_lost_its_address_does_so_too(self, mta: MTA, relay: SinkMX, tmp_path: Path) -> None:
        """Some relay put the server's address in place of the message's; another left our Message-ID only."""
        port = _free_port()
        with mta("127.0.0.1", port) as there:
            smart_host = f"smtp://127.0.0.1:{relay.port}?tls=opportunistic"
            with running(tmp_path, smtp_port=str(port), smart_host=smart_host, allow_networks=ALLOWED) as installation:
                names = ("kept", "lost", "bare")
                sent = {name: installation.send(f"{name}@dest.test") for name in names}
                address = f"{server_token(installation)}@psrp.{DOMAIN}"
                for name in names:
                    drop = OURS if name == "bare" else ()
                    pass_on(relay, f"{name}@dest.test", there, address, drop=drop)
                for name in ("lost", "bare"):
                    installation.until_status(sent[name], "Bounced")

                assert installation.status(sent["kept"]) == "Sent"
                assert suppressed(installation) == ["bare@dest.test", "lost@dest.test"]
