"""Events on every backend: what the rules of flushes ask from ``Records`` holds there too."""

import asyncio
import random
from datetime import timedelta

from shared.domain.event import Event, EventKind
from shared.domain.ids import OrganizationId, ServerId, draw_ids
from shared.domain.tenancy import Mode, Server, Shards
from shared.flow.record import Recording, record
from shared.store.directory import Directory
from shared.store.event_flushes import LEFT_ALONE, READ_AFTER, Flushes
from shared.store.event_log import EventLog, cursor_at
from shared.store.events import Events
from shared.store.servers import server_puts
from tests.contract.conftest import World

KEPT = timedelta(days=45)


class TestRecord:
    async def test_once_each_whatever_comes_between(self, world: World) -> None:
        """A flush that died, a repetition at the same moment, and a late one: listed and counted once."""
        rng = random.Random(1)
        began = world.clock()
        shards = (Shards(began - timedelta(days=1), 3),)
        server = Server(ServerId(7), OrganizationId(1), "s", "s", "abcdef", Mode.LIVE, created_at=began, shards=shards)
        await world.records.atomically(server_puts(server))
        batch = [Event(EventKind.DELIVERED, server.id, each, 1, began, "ok") for each in draw_ids(began, 30, rng)]
        flushes = Flushes(world.records, clock=world.clock, rng=rng, kept=KEPT)
        using = Recording(flushes, Events(world.records), Directory(world.records, clock=world.clock))
        died = await flushes.open(server.id, server.shards)
        reserved = await flushes.reserve(died, batch[:10])

        early = await record(batch, using=using)
        world.advance(LEFT_ALONE)
        both = await asyncio.gather(record(batch, using=using), record(batch, using=using))
        world.advance(LEFT_ALONE)
        last = await record(batch, using=using)
        world.advance(2 * READ_AFTER)

        assert len(early.failed) == 10
        assert not last.failed
        assert sum(len(each.new) for each in (early, *both, last)) == 30
        assert not await flushes.commit(died, reserved.new)
        assert await Events(world.records).counted(server.id, began) == {"delivered": 30}
        page = await EventLog(world.records, kept=KEPT).read(
            server, cursor_at(began - timedelta(hours=1)), now=world.clock()
        )
        assert sorted(page.events, key=lambda event: event.message_id) == batch
