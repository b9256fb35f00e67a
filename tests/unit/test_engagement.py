"""What is counted of opens and clicks, and what is kept."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from functions.edge.visitors import HUMAN as HUMAN_AT_THE_EDGE
from shared.domain.engagement import HUMAN, MOST_EVENTS, counted_as, hits_of, is_human, only_counted
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId


def hit(kind: EventKind = EventKind.OPENED, **data: object) -> Event:
    """Return an event of a hit."""
    return Event(kind, ServerId(1), MessageId(2), 0, datetime(2026, 1, 1, tzinfo=UTC), subject="x", data=data)


class TestCountedAs:
    @pytest.mark.parametrize(
        ("event", "counts"),
        [
            (hit(**{"class": "human"}), {"opened": 1, "opened_human": 1}),
            (hit(**{"class": "privacy_proxy"}), {"opened": 1}),
            (hit(EventKind.CLICKED, **{"class": "human", "skipped": 40}), {"clicked": 41, "clicked_human": 1}),
            (hit(EventKind.UNSUBSCRIBED), {"unsubscribed": 1}),
            (hit(EventKind.DELIVERED), {"delivered": 1}),
            (hit(EventKind.DELIVERED, direction="incoming"), {"delivered_incoming": 1}),
            (hit(EventKind.FAILED, direction="incoming"), {"failed_incoming": 1}),
        ],
    )
    def test_keeps_both_numbers(self, event: Event, counts: dict[str, int]) -> None:
        """All hits, and those of people."""
        assert counted_as(event) == counts

    @pytest.mark.parametrize("skipped", [-1, "5", None, True, 1.5])
    def test_believes_no_odd_number(self, skipped: object) -> None:
        """What lies on a queue may be of another release."""
        assert hits_of(hit(skipped=skipped)) == 1


class TestIsHuman:
    def test_an_unsubscription_is_a_persons(self) -> None:
        """A mail program sends it, because somebody pressed a button."""
        assert is_human(hit(EventKind.UNSUBSCRIBED))
        assert not is_human(hit())
        assert HUMAN == HUMAN_AT_THE_EDGE


class TestOnlyCounted:
    def test_begins_when_the_room_ends(self) -> None:
        """A message that is opened for ever has twenty events."""
        hits = [replace(hit(), subject=str(number)) for number in range(5)]
        kept = {f"kept-{number}" for number in range(MOST_EVENTS - 3)}

        assert only_counted(hits, kept=kept) == hits[3:]

    def test_takes_no_room_for_a_repeated_hit(self) -> None:
        """What the log has already changes nothing there."""
        hits = [replace(hit(), subject=str(number)) for number in range(MOST_EVENTS)]

        assert only_counted([*hits, replace(hit(), subject="new")], kept={each.subject for each in hits}) == [
            replace(hit(), subject="new")
        ]
