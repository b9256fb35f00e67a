"""The event log: in the order of recording, from any point on, and a cursor skips nothing."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.event import Event, EventKind
from shared.domain.tenancy import Shards
from shared.store.event_flushes import LEFT_ALONE, OPENED_WITHIN, READ_AFTER, Flushes
from shared.store.event_log import MAX_DAYS, WAITED_FOR, cursor_at
from tests.fakes.recording import KEPT, World

MOMENT = timedelta(milliseconds=1)


class TestRead:
    async def test_young_events_wait(self) -> None:
        """What is younger than 5 s may still get neighbours that sort before it."""
        world = await World().begin()
        event = world.event()
        await world.record([event])

        world.clock.advance(READ_AFTER)
        early = await world.log.read(world.server, cursor_at(event.at), now=world.clock())
        world.clock.advance(MOMENT)
        late = await world.log.read(world.server, early.cursor, now=world.clock())

        assert (list(early.events), early.more) == ([], False)
        assert list(late.events) == [event]

    async def test_all_shards_come_in_one_order(self) -> None:
        """Whoever reads in steps of any size sees the same sequence."""
        world = await World(shards=4).begin()
        for number in range(100):
            await world.record([world.event(number), world.event(1000 + number)])
            world.clock.advance(timedelta(milliseconds=700))
        world.clock.advance(2 * READ_AFTER)

        whole = await world.logged(limit=500)

        assert len(whole) == 200
        assert [event.at for event in whole] == sorted(event.at for event in whole)
        for limit in (1, 3, 7, 79):
            assert await world.logged(limit=limit) == whole

    async def test_a_reader_may_go_back(self) -> None:
        """A customer whose endpoint lost an hour reads it again."""
        world = await World().begin()
        marks = []
        for number in range(5):
            marks.append(world.clock())
            await world.record([world.event(number)])
            world.clock.advance(timedelta(hours=5))

        again = await world.logged(cursor=cursor_at(marks[3]))

        assert [event.details for event in again] == ["n3", "n4"]

    async def test_only_some_kinds(self) -> None:
        """What is left out costs no read of its row, and the cursor passes it."""
        world = await World().begin()
        await world.record([world.event(n, EventKind.OPENED if n % 2 else EventKind.CLICKED) for n in range(10)])
        world.clock.advance(2 * READ_AFTER)
        cursor = cursor_at(world.clock() - timedelta(hours=1))

        some = await world.log.read(world.server, cursor, kinds={EventKind.OPENED}, limit=3, now=world.clock())
        rest = await world.log.read(world.server, some.cursor, kinds={EventKind.OPENED}, now=world.clock())

        assert {event.kind for event in [*some.events, *rest.events]} == {EventKind.OPENED}
        assert (len(some.events), some.more, len(rest.events), rest.more) == (3, True, 2, False)

    async def test_a_long_silence_is_read_in_steps(self) -> None:
        """No single read looks through a year."""
        world = await World().begin()
        event = world.event()
        await world.record([event])
        world.clock.advance(timedelta(days=2 * MAX_DAYS))
        late = world.event(2)
        await world.record([late])
        world.clock.advance(2 * READ_AFTER)

        first = await world.log.read(world.server, cursor_at(event.at), now=world.clock())

        assert (list(first.events), first.more) == ([event], True)
        assert await world.logged(cursor=first.cursor) == [late]

    async def test_what_has_expired_is_not_there(self) -> None:
        """The log is kept for a setting's time; an old cursor begins where it begins."""
        world = await World().begin()
        await world.record([world.event()])
        world.clock.advance(KEPT)
        late = world.event(2)
        await world.record([late])
        world.clock.advance(2 * READ_AFTER)

        assert await world.logged(cursor="0000000000000.0") == [late]

    async def test_a_cursor_of_the_future_is_kept(self) -> None:
        """A client whose clock is ahead reads nothing twice."""
        world = await World().begin()
        ahead = cursor_at(world.clock() + timedelta(days=400))

        page = await world.log.read(world.server, ahead, now=world.clock())

        assert (list(page.events), page.cursor, page.more) == ([], ahead, False)

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "1",
            "1767268800000",
            "1767268800000.",
            "1767268800000.12345",
            "99999999999999.0",
            "-767268800000.0",
            "1767268800000000ABCDEF0123456789.0",
            "\u0661767268800000.0",
            "1767268800000.0\n",
            "1767268800000.0#",
        ],
    )
    async def test_something_else_than_a_cursor(self, cursor: str) -> None:
        """It comes from a URL."""
        world = await World().begin()

        with pytest.raises(InvalidValue):
            await world.log.read(world.server, cursor, now=world.clock())

    async def test_growing_in_the_middle_of_a_day(self) -> None:
        """Pages written before and after a server got more shards are all read."""
        world = await World().begin()
        for shards in (1, 5, 2):
            world.server = replace(world.server, shards=(*world.server.shards, Shards(world.clock(), shards)))
            await world.store_server()
            for number in range(10):
                await world.record([world.event(100 * shards + number)])
                world.clock.advance(timedelta(seconds=6))
        world.clock.advance(READ_AFTER)

        assert len(await world.logged()) == 30


class TestOpenPages:
    async def test_a_reader_waits_for_one_then_gives_it_up(self) -> None:
        """A flush that died holds readers up for half a minute, not for ever; its events come later."""
        world = await World().begin()
        dead, alive = world.event(1), world.event(2)
        world.records.kill_at = 4  # after the server, the page and the event: at the commit
        assert await world.record_or_die([dead]) == {dead.id}
        world.clock.advance(timedelta(seconds=1))
        await world.record([alive])
        start = cursor_at(world.clock() - timedelta(hours=1))

        world.clock.advance(WAITED_FOR - timedelta(seconds=2))
        held_up = await world.log.read(world.server, start, now=world.clock())
        world.clock.advance(timedelta(seconds=2))
        freed = await world.log.read(world.server, held_up.cursor, now=world.clock())
        await world.until_done([dead])
        world.clock.advance(2 * READ_AFTER)
        after = await world.log.read(world.server, freed.cursor, now=world.clock())

        assert (list(held_up.events), held_up.more) == ([], False)
        assert list(freed.events) == [alive]
        assert list(after.events) == [dead]

    async def test_one_that_a_reader_has_passed_is_never_done(self) -> None:
        """A consumer that stood still for minutes must not list its events behind the readers."""
        world = await World().begin()
        event = world.event()
        flushes = Flushes(world.records, clock=world.clock, rng=world.rng, kept=KEPT)
        flush = await flushes.open(world.server.id, world.server.shards)
        reserved = await flushes.reserve(flush, [event])
        world.clock.advance(WAITED_FOR)
        page = await world.log.read(world.server, cursor_at(event.at), now=world.clock())

        committed = await flushes.commit(flush, reserved.new)
        await world.until_done([event])
        world.clock.advance(2 * READ_AFTER)

        assert (list(page.events), committed) == ([], False)
        assert await world.logged(cursor=page.cursor) == [event]

    async def test_one_that_is_done_at_the_last_moment_is_read(self) -> None:
        """Between looking at an old open page and making it dead, its flush may come to its end."""
        world = await World().begin()
        event = world.event()
        flushes = Flushes(world.records, clock=world.clock, rng=world.rng, kept=KEPT)
        flush = await flushes.open(world.server.id, world.server.shards)
        reserved = await flushes.reserve(flush, [event])
        world.clock.advance(WAITED_FOR)
        calls = iter(range(100))

        async def commit_before_the_second_call() -> None:
            if next(calls) == 0:
                assert await flushes.commit(flush, reserved.new)

        world.records.before_call = commit_before_the_second_call  # the query is no call here

        page = await world.log.read(world.server, cursor_at(event.at), now=world.clock())

        assert list(page.events) == [event]

    async def test_a_page_that_comes_late_is_not_used(self) -> None:
        """A process that stood still between choosing the moment and putting the page takes a new moment."""
        world = await World().begin()
        slow = iter([timedelta(0), OPENED_WITHIN + MOMENT])

        async def stand_still() -> None:
            world.clock.advance(next(slow, timedelta(0)))

        world.records.before_call = stand_still
        began = world.clock()
        event = world.event()
        await world.record([event])
        world.records.before_call = None
        world.clock.advance(2 * READ_AFTER)

        [key] = [key for key, (item, _) in world.records._kept.items() if "rows" in item]
        assert int(key.sort[:13]) > began.timestamp() * 1000 + 3000
        assert await world.logged() == [event]

    @pytest.mark.parametrize("seed", range(30))
    async def test_a_reader_beside_slow_writers_sees_everything_once(self, seed: int) -> None:
        """Writers stand still between any two steps for seconds; the reader asks all the time."""
        rng = random.Random(seed)
        world = await World(shards=3).begin()
        world.records.turns = lambda: rng.choice([0, 1, 1, 2, 5, 20])
        batches = [[world.event(100 * n + m) for m in range(rng.randrange(1, 4))] for n in range(12)]
        seen: list[Event] = []
        cursor = cursor_at(world.clock() - timedelta(hours=1))
        writers: list[asyncio.Task[None]] = [asyncio.create_task(_bring(world, each, rng)) for each in batches]

        while not all(writer.done() for writer in writers):
            world.clock.advance(timedelta(milliseconds=rng.choice([0, 10, 300, 900])))
            page = await world.log.read(world.server, cursor, limit=rng.randrange(1, 6), now=world.clock())
            seen += page.events
            cursor = page.cursor
        for writer in writers:
            writer.result()
        world.clock.advance(WAITED_FOR + READ_AFTER)
        seen += await world.logged(cursor=cursor)

        assert seen == await world.logged(limit=100)
        await world.check([event for batch in batches for event in batch])


async def _bring(world: World, batch: list[Event], rng: random.Random) -> None:
    """Record a batch until it is done, as the queue would bring it, now and then twice at once."""
    for _ in range(rng.randrange(20)):
        await asyncio.sleep(0)
    left = batch
    while left:
        twice = [world.record(left) for _ in range(rng.choice([1, 1, 2]))]
        done = await asyncio.gather(*twice)
        left = [event for event in left if all(event.id in each.failed for each in done)]
        comes_back = world.clock() + LEFT_ALONE
        while left and world.clock() < comes_back:  # noqa: ASYNC110  # the reader moves this clock, turn by turn
            await asyncio.sleep(0)
