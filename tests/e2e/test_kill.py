"""Kill -9 of anything at any moment: nothing acknowledged is lost."""

import random
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Place
from tests.e2e.harness import SENDERS, Installation, Mailing, addresses, running, unexplained, until

KILLS = 3


def _after_some_more(installation: Installation, mailing: Mailing, rng: random.Random) -> None:
    """Wait until a random number of further messages has arrived, so that work is under way."""
    arrived = len(installation.internet.copies())
    target = arrived + rng.randrange(10, mailing.size // (KILLS + 1))
    until(
        lambda: len(installation.internet.copies()) >= min(target, mailing.size) or mailing.done,
        "mail to arrive before the kill",
    )


@pytest.mark.e2e
@pytest.mark.slow
class TestKillTree:
    def test_nothing_acknowledged_is_lost(self, tmp_path: Path, place: Place) -> None:
        """A machine may lose power between any two instructions; a 200 or 250 is a promise all the same."""
        rng, kills = random.Random(1), []
        with running(tmp_path, **place.settings) as installation:
            with Mailing(installation, addresses("tree", place.messages), repeat=False) as mailing:
                for _ in range(KILLS):
                    _after_some_more(installation, mailing, rng)
                    with mailing.interrupted():
                        kills.append(time.time())
                        installation.tree.kill()
                        installation.tree.start()

            installation.until_delivered(mailing.acknowledged)

            # A kill takes what was under way with it; those senders do not repeat.
            assert len(mailing.acknowledged) >= place.messages - KILLS * SENDERS
            assert not unexplained(installation.internet, kills)


@pytest.mark.e2e
@pytest.mark.slow
class TestKillDeliver:
    def test_work_of_a_dead_node_is_done_by_the_next(self, tmp_path: Path, place: Place) -> None:
        """Postal loses what a killed worker had locked; here the lease ends and another takes over."""
        rng, kills = random.Random(2), []
        with running(tmp_path, **place.settings) as installation:
            with Mailing(installation, addresses("deliver", place.messages), repeat=False) as mailing:
                for _ in range(KILLS):
                    _after_some_more(installation, mailing, rng)
                    kills.append(time.time())
                    installation.kill_part("deliver")

            installation.until_delivered(mailing.acknowledged)

            assert len(mailing.acknowledged) == place.messages
            assert not unexplained(installation.internet, kills)


@pytest.mark.e2e
@pytest.mark.slow
class TestKillHTTP:
    def test_a_repeated_request_sends_one_message(self, tmp_path: Path, place: Place) -> None:
        """A client that lost the answer repeats with the same Idempotency-Key and must not send twice."""
        rng = random.Random(3)
        recipients = addresses("http", place.messages)
        with running(tmp_path, **place.settings) as installation:
            with Mailing(installation, recipients, repeat=True) as mailing:
                for _ in range(KILLS):
                    _after_some_more(installation, mailing, rng)
                    installation.kill_part("http")

            installation.until_delivered(recipients)
            until(mailing.all_sent, "everything to be recorded as sent")

            copies = installation.internet.copies()
            assert {recipient: copies[recipient] for recipient in recipients} == dict.fromkeys(recipients, 1)


@pytest.mark.e2e
@pytest.mark.slow
class TestTerminate:
    def test_a_deploy_under_load_loses_and_repeats_nothing(self, tmp_path: Path, place: Place) -> None:
        """SIGTERM is every deploy: what is under way ends well, and the next version goes on."""
        recipients = addresses("deploy", place.messages)
        with running(tmp_path, **place.settings) as installation:
            with Mailing(installation, recipients, repeat=True) as mailing:
                for _ in range(2):
                    _after_some_more(installation, mailing, random.Random(4))
                    assert installation.tree.stop() == 0
                    with mailing.interrupted():
                        installation.tree.start()

            installation.until_delivered(recipients)
            until(mailing.all_sent, "everything to be recorded as sent")

            copies = installation.internet.copies()
            assert {recipient: copies[recipient] for recipient in recipients} == dict.fromkeys(recipients, 1)
