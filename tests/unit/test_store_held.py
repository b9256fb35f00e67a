"""Lists of held messages: in order over all shards, whatever their number was."""

from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.ids import MessageId
from shared.flow.grow import STARTS_AFTER, set_shards
from shared.store.held import HeldMessages
from shared.store.servers import Servers
from tests.fakes.installation import Installation, install


async def held_ids(here: Installation, limit: int) -> list[MessageId]:
    """Read the whole list in steps."""
    server = await Servers(here.records).get(here.server.id)
    assert server is not None
    found: list[MessageId] = []
    cursor: str | None = None
    while True:
        ids, cursor = await HeldMessages(here.records).page(server, cursor, limit=limit)
        found += ids
        if cursor is None:
            return found


async def hold(here: Installation, count: int) -> list[MessageId]:
    """Accept messages and put them on the list."""
    server = await Servers(here.records).get(here.server.id)
    assert server is not None
    answers = [await here.accept(f"user{number}@dest.test") for number in range(count)]
    ids = [message.id for answer in answers for message in answer.messages.values()]
    for each in ids:
        await HeldMessages(here.records).put(server, each, attempt=1, kept_until=here.clock() + timedelta(days=7))
    return ids


class TestHeldMessages:
    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    async def test_come_oldest_first_from_all_shards(self, limit: int) -> None:
        """The list of a server that grew, and shrank, is one list."""
        here = await install()
        ids = []
        for count in (1, 5, 2):
            await set_shards(here.server.permalink, count, records=here.records, now=here.clock())
            here.clock.advance(STARTS_AFTER)
            ids += await hold(here, 8)

        assert await held_ids(here, limit) == sorted(ids)

    async def test_are_counted_up_to_a_bound(self) -> None:
        """A status page does not count a million."""
        here = await install()
        await hold(here, 5)

        assert await HeldMessages(here.records).counted(here.server, most=3) == 3
        assert await HeldMessages(here.records).counted(here.server, most=9) == 5

    async def test_one_that_was_held_again_stays(self) -> None:
        """Taking an old hold off the list must not hide the new one."""
        here = await install()
        [message_id] = await hold(here, 1)
        listed = HeldMessages(here.records)
        await listed.put(here.server, message_id, attempt=2, kept_until=here.clock() + timedelta(days=7))

        await listed.remove(here.server, message_id, attempt=1)

        assert await held_ids(here, 10) == [message_id]

    @pytest.mark.parametrize("cursor", ["", "x", "1", "-000000000000001", "00000000000000001", "0000000000000001#"])
    async def test_something_else_than_a_cursor(self, cursor: str) -> None:
        """It may come from a URL."""
        here = await install()

        with pytest.raises(InvalidValue):
            await HeldMessages(here.records).page(here.server, cursor, limit=10)
