"""Record: events come late, repeated and in any order, and are counted once."""

import contextlib
from collections.abc import Sequence
from datetime import timedelta

from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.flow.record import record
from shared.ports import Write
from shared.store.events import Events
from tests.fakes.clock import FakeClock
from tests.fakes.records import FakeRecords


class FailingRecords(FakeRecords):
    """Records that go away after so many writes."""

    writes_left = 0

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Write, if there is a write left."""
        if not self.writes_left:
            raise StorageUnavailable("away")
        self.writes_left -= 1
        return await super().atomically(writes)


class TestRecord:
    async def test_a_repeated_event_changes_nothing(self) -> None:
        """The queue delivers at least once; counters must not notice."""
        clock = FakeClock()
        events = Events(FakeRecords(clock))
        one = Event(EventKind.DELIVERED, ServerId(7), MessageId(1 << 50), 1, clock(), "ok", "250")
        two = Event(EventKind.DELAYED, ServerId(7), MessageId(1 << 50), 2, clock(), "busy", "451")

        first = await record([one, two, one], events=events)
        again = await record([two, one], events=events)

        assert sorted(event.kind for event in first) == ["delayed", "delivered"]
        assert again == []
        assert await events.counted(ServerId(7), clock()) == {"delivered": 1, "delayed": 1}

    async def test_hours_and_servers_are_counted_apart(self) -> None:
        """One tenant's figures say nothing about another's."""
        clock = FakeClock()
        events = Events(FakeRecords(clock))
        here = [
            Event(EventKind.FAILED, ServerId(7), MessageId(n << 40), 1, clock() + timedelta(hours=n % 2))
            for n in range(1, 5)
        ]
        there = [Event(EventKind.FAILED, ServerId(8), MessageId(1 << 40), 1, clock())]

        await record([*here, *there], events=events)

        assert await events.counted(ServerId(7), clock()) == {"failed": 4}
        assert await events.counted(ServerId(8), clock()) == {"failed": 1}
        assert await events.counted(ServerId(9), clock()) == {}

    async def test_a_failure_in_the_middle_of_a_batch_loses_no_count(self) -> None:
        """What was stored before it is not new the next time, so it must have been counted."""
        clock = FakeClock()
        records = FailingRecords(clock)
        batch = [
            Event(EventKind.DELIVERED, ServerId(7), MessageId(number << 40), 1, clock() + timedelta(hours=number % 3))
            for number in range(1, 101)
        ]

        for records.writes_left in (1, 0, 2, 40, 1, 99):
            with contextlib.suppress(StorageUnavailable):
                await record(batch, events=Events(records))

        assert await Events(records).counted(ServerId(7), clock()) == {"delivered": 100}


class TestEvent:
    def test_the_same_happening_has_the_same_id(self) -> None:
        """Consumers tell new events from repeated ones by it."""
        clock = FakeClock()
        event = Event(EventKind.HELD, ServerId(7), MessageId(9), 3, clock(), "why", "")

        assert Event.from_json(event.to_json()) == event
        assert Event.from_json(event.to_json()).id == event.id
