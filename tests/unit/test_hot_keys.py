"""No partition of DynamoDB is hot at 10,000 messages a second, one tenant with half of them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

from hot_keys import load, units_of_event  # a script, found by the line above

MOST_WRITES, MOST_READS = 800, 2400
"""Units a second: four fifths of what a partition takes."""


class TestTrace:
    @pytest.mark.parametrize("held", [None, 0])
    def test_no_partition_is_hot(self, held: int | None) -> None:
        """Also while the largest tenant is suspended, and all its mail goes to one list and expires at one time."""
        trace = load(held=held)

        writes, reads = trace.busiest(trace.writes), trace.busiest(trace.reads)

        assert max(writes.values()) <= MOST_WRITES, writes
        assert max(reads.values()) <= MOST_READS, reads
        assert {"message", "events", "log", "counters", "due"} | ({"held"} if held == 0 else set()) == set(writes)
        assert {"server", "organization", "domain", "credential", "suppression"} <= set(reads)

    def test_recording_stays_cheap_among_many_tenants(self) -> None:
        """Each server in a run costs five units; runs are large so that most of them share."""
        assert units_of_event(load()) <= 2.5

    def test_without_shards_it_would_be_hot(self) -> None:
        """The trace tells the difference."""
        trace = load(grown=False)

        assert trace.busiest(trace.writes)["message"] > 10_000
