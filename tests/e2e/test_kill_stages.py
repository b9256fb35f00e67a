"""Kill -9 while the recipient's exchanger is waiting at a known point of the conversation."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Place
from tests.e2e.harness import SENDER, Installation, addresses, running, until
from tests.e2e.internet import Exchanger
from tests.fakes.mx_script import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STAGES = ("greeting", "ehlo", "mail", "rcpt", "data", "body", "dot")
EACH = 5
LARGE_BYTES = 6_000_000
"""More than both ends' socket buffers hold: the sender is stuck in the middle of the body."""


def _held(exchanger: Exchanger, stage: str) -> int:
    """Return how many sessions wait at the stage."""
    if stage == "greeting":
        return len(exchanger.sessions)
    if stage == "dot":
        return len(exchanger.transactions)
    verb = "DATA" if stage == "body" else stage.upper()
    return sum(bool(each.commands) and each.commands[-1].upper().startswith(verb) for each in exchanger.sessions)


def _count(stage: str) -> int:
    return 1 if stage == "body" else EACH


def _send_to(installation: Installation, stage: str) -> list[str]:
    recipients = addresses("held", _count(stage), f"{stage}.test")
    if stage == "body":
        line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit sed do eius\r\n"
        head = f"From: {SENDER}\r\nTo: {recipients[0]}\r\nSubject: large\r\n\r\n".encode()
        with installation.submission() as client:
            client.sendmail(SENDER, recipients, head + line * (LARGE_BYTES // len(line)))
    else:
        for recipient in recipients:
            installation.send(recipient)
    return recipients


class TestKillAtEachStage:
    def test_mail_comes_once_unless_its_final_dot_was_out(self, tmp_path: Path, place: Place) -> None:
        """Only between the final dot and the recorded 250 may a kill lead to a second copy (RFC 1047)."""
        release = tmp_path / "release"
        with running(tmp_path, **place.settings) as installation:
            exchangers = {
                stage: installation.internet.exchanger(f"{stage}.test", **{stage: Step(hold=str(release))})
                for stage in STAGES
            }
            recipients = {stage: _send_to(installation, stage) for stage in STAGES}
            for stage, exchanger in exchangers.items():
                until(lambda e=exchanger, s=stage: _held(e, s) >= _count(s), f"sessions to be held at {stage}")

            installation.tree.kill()
            release.touch()
            installation.tree.start()

            everyone = [recipient for each in recipients.values() for recipient in each]
            installation.until_delivered(everyone)
            for stage in STAGES:
                most = 2 if stage == "dot" else 1
                for recipient in recipients[stage]:
                    assert 1 <= len(installation.internet.to(recipient)) <= most, f"{recipient} at {stage}"
            assert len(exchangers["body"].transactions[-1].raw) > LARGE_BYTES * 0.99


class TestKillDeliverWhileHeld:
    def test_the_next_node_takes_over_and_says_so(self, tmp_path: Path, place: Place) -> None:
        """An operator reads in the deliveries that an attempt was abandoned and the mail may come twice."""
        release = tmp_path / "release"
        with running(tmp_path, **place.settings) as installation:
            installation.internet.exchanger("dot.test", dot=Step(hold=str(release)))
            message_id = installation.send("held@dot.test")
            until(lambda: installation.internet.to("held@dot.test"), "the final dot")

            installation.kill_part("deliver")
            release.touch()

            rows = installation.until_status(message_id, "Sent")
            assert any("more than once" in row["details"] for row in rows)
