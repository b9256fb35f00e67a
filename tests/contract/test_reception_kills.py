"""Kill -9 at every store call of reception, for mail of each kind."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.contract.reception_kills import MOST_CALLS

EACH = 2 * MOST_CALLS
"""Mails of each kind: one killed before each call, one after it."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what was there after all kills and all repetitions."""
    command = [sys.executable, "-m", "tests.contract.reception_kills", str(tmp_path_factory.mktemp("kills"))]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


class TestReception:
    def test_every_call_of_every_kind_was_fatal_once(self, found: Any) -> None:
        """Else the rest says nothing: the last points lie behind the last call, the first ones before it."""
        kills = found["kills"]

        assert all(0 < count < EACH for count in kills.values()), kills
        assert kills["endpoint"] > kills["hold"] > kills["accept"] > kills["report"]

    def test_a_repeated_mail_is_there_once(self, found: Any) -> None:
        """The client heard no 250 and comes again: one copy, for a route with two endpoints one for each."""
        wanted = {kind: {"1": EACH} for kind in found["copies"]} | {"endpoint": {"2": EACH}, "report": {"0": EACH}}

        assert found["copies"] == wanted

    def test_what_was_answered_with_250_has_its_body_and_its_jobs(self, found: Any) -> None:
        """Whoever carries a mail on needs both."""
        assert found["bodies"] == EACH * (len(found["copies"]) - 1)
        assert found["without_job"] == []

    def test_each_is_told_of_once(self, found: Any) -> None:
        """Repeated events have the same id; a report is counted once."""
        received = {"accept": 1, "hold": 1, "bounce": 1, "endpoint": 2, "unmatched": 1}
        told = dict.fromkeys(("bounced", "complained", "unsubscribed"), EACH)

        assert found["events"] == told | {"received": EACH * sum(received.values())}
        assert found["reported"] == EACH
