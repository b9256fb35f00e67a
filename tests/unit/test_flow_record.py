"""Record: events come late, repeated and in any order, and are handed on, listed and counted."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.engagement import MOST_EVENTS
from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.flow.record import Recorded, Recording, record
from shared.store.directory import Directory
from shared.store.event_flushes import LEFT_ALONE, MAX_EVENTS, READ_AFTER, Flushes
from shared.store.events import Events
from tests.fakes.clock import FakeClock
from tests.fakes.recording import KEPT, Killed, World


class TestRecord:
    async def test_a_repeated_event_changes_nothing(self) -> None:
        """The queue delivers at least once; counters must not notice."""
        world = await World().begin()
        one, two = world.event(1), world.event(2, EventKind.DELAYED)

        first = await world.record([one, two, one])
        again = await world.record([two, one])

        assert sorted(event.kind for event in first.new) == ["delayed", "delivered"]
        assert (again.new, again.failed) == ([], frozenset())
        assert len(world.handed) == 2
        await world.check([one, two])

    async def test_hours_and_servers_are_counted_apart(self) -> None:
        """One tenant's figures say nothing about another's."""
        world = await World().begin()
        here = [world.event(n, EventKind.FAILED, at=world.clock() + timedelta(hours=n % 2)) for n in range(1, 5)]
        there = Event(EventKind.FAILED, ServerId(8), MessageId(1 << 40), 1, world.clock())

        await world.record([*here, there])

        assert await world.events.counted(ServerId(7), world.clock()) == {"failed": 4}
        assert await world.events.counted(ServerId(7), world.clock(), hour=12) == {"failed": 2}
        assert await world.events.counted(ServerId(8), world.clock()) == {"failed": 1}
        assert await world.events.counted(ServerId(9), world.clock()) == {}
        assert {event.server_id for event in await world.logged()} <= {ServerId(7)}

    async def test_a_large_batch_is_several_flushes(self) -> None:
        """A page of the log stays small."""
        world = await World(shards=3).begin()
        batch = [world.event(number) for number in range(2 * MAX_EVENTS + 50)]

        recorded = await world.record(batch)

        assert not recorded.failed
        pages = [key for key in world.records._kept if key.partition.startswith("log#")]
        assert len(pages) == 3
        await world.check(batch)

    async def test_a_flood_of_hits_is_counted_and_forgotten(self) -> None:
        """Whoever opens a message ten thousand times writes no ten thousand rows, and hides nobody's click."""
        world = await World().begin()
        one = world.event(1, EventKind.OPENED, attempt=0)
        opens = [replace(one, subject=f"{number:03d}") for number in range(50)]
        click = replace(one, kind=EventKind.CLICKED, subject="c", data={"class": "human"})

        first = await world.record(opens[:15])
        rest = await world.record([*opens, click])

        assert not first.failed | rest.failed
        assert [event.kind for event in rest.new].count(EventKind.OPENED) == MOST_EVENTS - 15
        counted = await world.events.counted(ServerId(7), world.clock())
        assert counted == {"opened": 50, "clicked": 1, "clicked_human": 1}
        world.clock.advance(READ_AFTER + timedelta(seconds=1))
        assert len(await world.logged()) == MOST_EVENTS + 1

    async def test_nothing_is_counted_that_could_not_be_handed_on(self) -> None:
        """A webhook that nobody was told of would be lost."""
        world = await World().begin()
        event = world.event()

        async def fails(events: Sequence[Event]) -> None:
            raise StorageUnavailable("the queue is away")

        flushes = Flushes(world.records, clock=world.clock, rng=world.rng, kept=KEPT)
        using = Recording(flushes, Events(world.records), Directory(world.records, clock=world.clock))
        recorded = await record([event], using=using, hand_on=fails)

        assert recorded == Recorded((), frozenset({event.id}))
        assert await world.events.counted(ServerId(7), event.at) == {}
        world.clock.advance(LEFT_ALONE)
        await world.until_done([event])
        await world.check([event])

    async def test_an_event_of_a_server_that_is_gone_is_recorded(self) -> None:
        """Deleting a server must not jam the queue."""
        world = World()

        recorded = await world.record([world.event()])

        assert (len(recorded.new), recorded.failed) == (1, frozenset())

    async def test_all_of_an_event_is_kept(self) -> None:
        """What a webhook tells, the log tells too."""
        world = await World().begin()
        event = world.event(kind=EventKind.CLICKED, output="250", subject="a#b", data={"url": "https://x/#y", "n": [1]})
        plain = world.event(2, message_id=MessageId(0), attempt=0, details="")

        await world.record([event, plain])
        world.clock.advance(2 * READ_AFTER)

        assert {logged.id: logged for logged in await world.logged()} == {event.id: event, plain.id: plain}
        of_message, cursor = await world.events.of_message(world.server, event.message_id)
        assert (list(of_message), cursor) == ([event], None)


class TestCrashes:
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("error", [Killed, StorageUnavailable])
    async def test_a_death_between_any_two_steps(self, error: type[BaseException], after: bool) -> None:
        """Whatever was done before it: the repeated batch ends in every event once."""
        calls = 0
        for kill_at in range(1, 100):
            world = await World().begin()
            batch = [world.event(number, at=world.clock() + timedelta(hours=number % 2)) for number in range(4)]
            world.records.kill_at, world.records.kill_after, world.records.error = kill_at, after, error
            failed = await world.record_or_die(batch)
            died = world.records.calls >= kill_at
            world.records.kill_at = 0
            world.clock.advance(LEFT_ALONE)
            # Only what was not deleted comes again, once beside a batch of others.
            again = [event for event in batch if event.id in failed]
            more = [world.event(number) for number in (10, 11)]
            await world.until_done([*again, *more])
            await world.check([*batch, *more])
            if not died:
                calls = kill_at
                break

        assert calls > 10

    async def test_writes_whose_replies_are_lost_are_done_once(self) -> None:
        """Below us a write may be tried again, and then its own work stands in its way."""
        world = await World().begin()
        world.records.every_write_twice = True
        batch = [world.event(number) for number in range(3)]

        recorded = await world.record(batch)

        assert not recorded.failed
        await world.check(batch)

    async def test_deaths_one_after_the_other(self) -> None:
        """The one that takes over may die too."""
        for first in range(1, 16):
            for second in range(1, 16, 2):
                world = await World().begin()
                batch = [world.event(number) for number in range(3)]
                for kill_at in (first, second):
                    world.records.calls, world.records.kill_at = 0, kill_at
                    world.records.kill_after = bool(kill_at % 2)
                    if await world.record_or_die(batch):
                        world.clock.advance(LEFT_ALONE)
                world.records.kill_at = 0
                await world.until_done(batch)
                await world.check(batch)

    @pytest.mark.parametrize("seed", range(20))
    async def test_several_consumers_with_the_same_events_at_once(self, seed: int) -> None:
        """The queue may give one event to two consumers at the same moment, and again later."""
        world = await World(shards=2).begin()
        rng = random.Random(seed)
        batch = [world.event(number) for number in range(12)]
        for _ in range(6):
            parts = [rng.sample(batch, rng.randrange(1, 12)) for _ in range(4)]
            world.records.calls, world.records.kill_at = 0, rng.randrange(1, 120)
            world.records.kill_after = rng.random() < 0.5
            world.records.error = StorageUnavailable
            await asyncio.gather(*(world.record(part) for part in parts))
            world.clock.advance(timedelta(seconds=rng.choice([0, 1, 6, 11])))
        world.records.kill_at = 0
        world.clock.advance(LEFT_ALONE)
        await world.until_done(batch)

        await world.check(batch)


class TestEvent:
    def test_the_same_happening_has_the_same_id(self) -> None:
        """Consumers tell new events from repeated ones by it."""
        clock = FakeClock()
        event = Event(EventKind.HELD, ServerId(7), MessageId(9), 3, clock(), "why", "")

        assert Event.from_json(event.to_json()) == event
        assert Event.from_json(event.to_json()).id == event.id
