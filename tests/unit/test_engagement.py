"""What is counted of opens and clicks, and what is kept."""

from datetime import UTC, datetime

import pytest

from functions.edge.visitors import HUMAN as HUMAN_AT_THE_EDGE
from shared.domain.engagement import HUMAN, MOST_EVENTS, counted_as, hits_of, is_human, is_kept, marks_of
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
        ],
    )
    def test_keeps_both_numbers(self, event: Event, counts: dict[str, int]) -> None:
        """All hits, and those of people."""
        assert counted_as(event) == counts

    @pytest.mark.parametrize("skipped", [-1, "5", None, True, 1.5])
    def test_believes_no_odd_number(self, skipped: object) -> None:
        """What lies on a queue may be of another release."""
        assert hits_of(hit(skipped=skipped)) == 1


class TestMarks:
    def test_are_bounded_attributes(self) -> None:
        """Four for each kind, and none for what is no hit."""
        marks = marks_of(EventKind.CLICKED)
        assert marks is not None
        assert (marks.first_at, marks.human_count) == ("clicked_at", "clicked_human_count")
        assert marks_of(EventKind.DELIVERED) is None

    def test_an_unsubscription_is_a_persons(self) -> None:
        """A mail program sends it, because somebody pressed a button."""
        assert is_human(hit(EventKind.UNSUBSCRIBED))
        assert not is_human(hit())
        assert HUMAN == HUMAN_AT_THE_EDGE


class TestIsKept:
    def test_ends_at_the_cap(self) -> None:
        """Further ones are only counted; other events always stay."""
        assert is_kept(hit(), events_before=MOST_EVENTS - 1)
        assert not is_kept(hit(), events_before=MOST_EVENTS)
        assert is_kept(hit(EventKind.DELIVERED), events_before=1000)
