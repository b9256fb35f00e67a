"""Shards: a busy server gets more partitions, and everything stored before is found."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from shared.domain.errors import InvalidValue, NotFound
from shared.domain.event import Event, EventKind
from shared.domain.ids import draw_ids
from shared.domain.message import Direction
from shared.domain.tenancy import Shards
from shared.flow.claim import Claimed
from shared.flow.grow import MOST_ENTRIES, MOST_SHARDS, STARTS_AFTER, Growing, grow_busy, set_shards, shards_for
from shared.flow.record import BUSY_FROM, Recording, record
from shared.store.busy_servers import FORGOTTEN_AFTER
from shared.store.event_flushes import Flushes
from shared.store.events import Events
from shared.store.keys import message_key
from shared.store.servers import Servers
from tests.fakes.installation import Installation, install

MINUTE = timedelta(minutes=1)


async def send(here: Installation, count: int, at: datetime | None = None) -> None:
    """Record so many delivered messages, a thousand in a batch."""
    flushes = Flushes(here.records, clock=here.clock, rng=here.rng, kept=timedelta(days=45))
    using = Recording(flushes, Events(here.records), here.directory, Growing.over(here.records).busy)
    ids = draw_ids(here.clock(), count, here.rng)
    batch = [Event(EventKind.DELIVERED, here.server.id, each, 1, at or here.clock()) for each in ids]
    for start in range(0, count, 1000):
        assert not (await record(batch[start : start + 1000], using=using)).failed


async def look(here: Installation) -> int:
    """Run the stage of every minute now."""
    return await grow_busy(using=Growing.over(here.records), now=here.clock())


async def shards(here: Installation) -> Sequence[Shards]:
    """Return the server's list as it is stored."""
    server = await Servers(here.records).get(here.server.id)
    assert server is not None
    return server.shards


class TestShardsFor:
    @pytest.mark.parametrize(
        ("rate", "present", "wanted"),
        [
            (0, 1, 1),
            (160, 1, 1),
            (161, 1, 2),
            (300, 1, 3),
            (1000, 1, 10),
            (1000, 10, 10),
            (5000, 1, 47),
            (1_000_000, 1, MOST_SHARDS),
            (0, 5, 5),
        ],
    )
    def test_leaves_room(self, rate: float, present: int, wanted: int) -> None:
        """A partition is at 60 % of 800 units when it grows and at 40 % then; it never shrinks."""
        assert shards_for(rate, present=present) == wanted


class TestGrowBusy:
    async def test_a_server_that_sends_much_grows_for_the_future(self) -> None:
        """3,000 messages in ten seconds need three partitions."""
        here = await install()
        await send(here, 100)
        here.clock.advance(MINUTE)
        assert await look(here) == 0

        await send(here, 6000)
        here.clock.advance(timedelta(seconds=20))
        assert await look(here) == 1

        before, after = await shards(here)
        assert (before.count, after) == (1, Shards(here.clock() + STARTS_AFTER, 3))

    async def test_looking_twice_changes_nothing(self) -> None:
        """The function may be run twice at once."""
        here = await install()
        here.clock.advance(timedelta(seconds=20))
        await send(here, 10_000)
        here.clock.advance(timedelta(seconds=20))

        assert [await look(here), await look(here)] == [1, 0]
        assert len(await shards(here)) == 2

    async def test_a_quiet_server_is_not_looked_at(self) -> None:
        """The work of a look depends on the busy servers, not on all."""
        here = await install()
        here.clock.advance(MINUTE)
        await send(here, BUSY_FROM - 1)

        assert [each async for each in Growing.over(here.records).busy.every()] == []

    async def test_one_that_became_quiet_is_forgotten(self) -> None:
        """The list holds only servers of the last minutes."""
        here = await install()
        await send(here, 100)
        here.clock.advance(FORGOTTEN_AFTER)

        assert [each async for each in Growing.over(here.records).busy.every()] == []

    async def test_a_new_hour_is_counted_from_its_beginning(self) -> None:
        """The counters begin anew; what was counted before must not be subtracted."""
        here = await install()
        here.clock.advance(timedelta(minutes=59, seconds=30))
        await send(here, 20_000)
        await look(here)
        here.clock.advance(timedelta(minutes=1))
        await send(here, 9_000)

        assert await look(here) == 1
        assert (await shards(here))[-1].count == 3


class TestSetShards:
    async def test_is_for_the_future(self) -> None:
        """What every process must know first may not begin now."""
        here = await install()

        server = await set_shards(here.server.permalink, 8, records=here.records, now=here.clock())

        assert server.shards[-1] == Shards(here.clock() + STARTS_AFTER, 8)
        assert (await set_shards(server.permalink, 8, records=here.records, now=here.clock())).shards == server.shards

    @pytest.mark.parametrize("count", [0, -1, MOST_SHARDS + 1])
    async def test_must_make_sense(self, count: int) -> None:
        """A server needs one."""
        here = await install()

        with pytest.raises(InvalidValue):
            await set_shards(here.server.permalink, count, records=here.records, now=here.clock())

    async def test_of_nobody(self) -> None:
        """The permalink is somebody's typing."""
        here = await install()

        with pytest.raises(NotFound):
            await set_shards("nobody", 2, records=here.records, now=here.clock())

    async def test_the_list_does_not_grow_for_ever(self) -> None:
        """It lies in one item."""
        here = await install()
        for number in range(1, MOST_ENTRIES):
            await set_shards(here.server.permalink, 2 - number % 2 + 1, records=here.records, now=here.clock())

        with pytest.raises(InvalidValue):
            await set_shards(here.server.permalink, 100, records=here.records, now=here.clock())

    async def test_messages_before_and_after_are_found(self) -> None:
        """Growing and shrinking move nothing: a look-up knows the count of the message's moment."""
        here = await install()
        made = []
        for count in (1, 7, 3):
            await set_shards(here.server.permalink, count, records=here.records, now=here.clock())
            here.clock.advance(STARTS_AFTER)
            answers = [await here.accept(f"user{number}@dest.test") for number in range(20)]
            made += [message.id for answer in answers for message in answer.messages.values()]
            here.clock.advance(MINUTE)
        server = await Servers(here.records).get(here.server.id)
        assert server is not None

        found = [await here.messages.get(server, each) for each in made]

        assert [message and message.id for message in found] == made
        assert len({message_key(server, Direction.OUTGOING, each).partition for each in made}) > 5

    async def test_a_client_that_began_before_does_not_lose_its_message(self) -> None:
        """An SMTP transaction may last for minutes; the node looks where the server spreads its mail then."""
        here = await install()
        submission = here.submission()  # with the server as it was
        await set_shards(here.server.permalink, 50, records=here.records, now=here.clock())
        here.clock.advance(10 * MINUTE)

        for _ in range(5):
            await here.accept(tenant=submission.tenant)

        for _ in range(5):
            assert isinstance(await here.claim_one(), Claimed)
