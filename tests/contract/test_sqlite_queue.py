"""What ``SQLiteQueue`` promises beyond the port."""

from datetime import timedelta

from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Depth, Outgoing
from tests.contract.conftest import HOUR, NO_WAIT
from tests.fakes.clock import FakeClock


async def bury(store: SQLiteStore, clock: FakeClock, count: int) -> SQLiteQueue:
    """Return a queue with so many dead letters, each received once."""
    queue = SQLiteQueue(store, "q", clock, max_receives=1)
    await queue.send([Outgoing(f"{n:03d}", group=f"{n % 7}") for n in range(count)])
    while await queue.receive(10, wait=NO_WAIT, visibility=timedelta(seconds=1)):
        pass
    clock.advance(timedelta(seconds=1))
    assert await queue.receive(10, wait=NO_WAIT, visibility=HOUR) == ()
    return queue


class TestReceive:
    async def test_buries_any_number_before_it_answers(self, store: SQLiteStore, clock: FakeClock) -> None:
        """Dead letters in front of it must not hide a living message."""
        queue = SQLiteQueue(store, "q", clock, max_receives=1)
        await queue.send([Outgoing("dead") for _ in range(200)])
        while await queue.receive(10, wait=NO_WAIT, visibility=timedelta(seconds=1)):
            pass
        await queue.send([Outgoing("alive", delay=timedelta(seconds=2))])
        clock.advance(timedelta(seconds=2))

        got = await queue.receive(10, wait=NO_WAIT, visibility=HOUR)

        assert [message.body for message in got] == ["alive"]
        assert await queue.depth() == Depth(ready=0, delayed=0, in_flight=1, dead=200)

    async def test_a_message_returned_at_its_limit_is_dead(self, store: SQLiteStore, clock: FakeClock) -> None:
        """Handing back is no way around the limit."""
        queue = SQLiteQueue(store, "q", clock, max_receives=1)
        await queue.send([Outgoing("x")])
        (message,) = await queue.receive(1, wait=NO_WAIT, visibility=HOUR)

        await queue.extend([message.receipt], NO_WAIT)

        assert await queue.depth() == Depth(ready=0, delayed=0, in_flight=0, dead=1)


class TestDead:
    async def test_shows_without_taking(self, store: SQLiteStore, clock: FakeClock) -> None:
        """An operator looks at dead letters as often as they like, and may delete them."""
        queue = await bury(store, clock, 3)

        for _ in range(2):
            assert {letter.body for letter in await queue.dead(10)} == {"000", "001", "002"}

        await SQLiteQueue(store, "q-dead", clock).delete([letter.receipt for letter in await queue.dead(2)])
        assert len(await queue.dead(10)) == 1


class TestRedrive:
    async def test_gives_dead_letters_another_life(self, store: SQLiteStore, clock: FakeClock) -> None:
        """After the bug is fixed, the work is done after all, once."""
        queue = await bury(store, clock, 130)
        sent_at = (await queue.dead(1))[0].sent_at

        assert await queue.redrive(120) == 120
        assert await queue.redrive(120) == 10

        got = await queue.receive(10, wait=NO_WAIT, visibility=HOUR)
        assert {(message.receives, message.sent_at) for message in got} == {(1, sent_at)}
        assert await queue.depth() == Depth(ready=120, delayed=0, in_flight=10, dead=0)
