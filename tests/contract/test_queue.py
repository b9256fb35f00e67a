"""What every implementation of ``Queue`` must do."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from shared.ports import MAX_DELAY, Depth, Outgoing, Queue, Received
from tests.contract.conftest import World

NOW = timedelta(0)
LONG = timedelta(seconds=20)
HALF_MINUTE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
LEAST = timedelta.resolution

UNFAIR = "the emulator takes no notice of MessageGroupId: fairness on AWS is SQS's own"
LENIENT = "the emulator lets an old receipt hide a message again; SQS answers MessageNotInflight"


async def take(queue: Queue, limit: int = 10, *, wait: timedelta = NOW) -> Sequence[Received]:
    """Receive for half a minute."""
    return await queue.receive(limit, wait=wait, visibility=HALF_MINUTE)


async def bodies(queue: Queue, limit: int = 10) -> list[str]:
    """Receive and return the bodies, sorted: queues promise no order."""
    return sorted(message.body for message in await take(queue, limit))


class TestSend:
    async def test_what_is_sent_is_received(self, world: World) -> None:
        """The body comes back as it was, with the time of sending."""
        queue = world.queue()

        await queue.send([Outgoing('{"ü": 1}', group="g")])

        (message,) = await take(queue)
        assert (message.body, message.receives) == ('{"ü": 1}', 1)
        # An engine with a clock of its own goes on while this test runs.
        assert timedelta(0) <= message.sent_at - world.clock() < (HALF_MINUTE if world.is_emulated else LEAST)

    async def test_takes_any_number(self, world: World) -> None:
        """SQS's limit of ten is the adapter's affair."""
        queue = world.queue()

        await queue.send([Outgoing(str(n)) for n in range(234)])

        seen = Counter[str]()
        while some := await take(queue):
            seen.update(message.body for message in some)
        assert seen == Counter(str(n) for n in range(234))

    async def test_twice_is_there_twice(self, world: World) -> None:
        """A queue does not deduplicate; consumers do."""
        queue = world.queue()

        for _ in range(2):
            await queue.send([Outgoing("same")])

        assert await bodies(queue) == ["same", "same"]

    async def test_nothing_is_no_error(self, world: World) -> None:
        """An empty batch sends nothing."""
        queue = world.queue()

        await queue.send([])

        assert await bodies(queue) == []

    async def test_queues_are_apart(self, world: World) -> None:
        """A name is a queue of its own."""
        await world.queue("one").send([Outgoing("x")])

        assert await bodies(world.queue("two")) == []

    async def test_a_delayed_message_comes_later(self, world: World) -> None:
        """Retries of up to 15 minutes wait on the queue itself."""
        queue = world.queue()
        await queue.send([Outgoing("later", delay=MINUTE), Outgoing("now")])

        assert await bodies(queue) == ["now"]
        world.advance(MINUTE)
        assert "later" in await bodies(queue)

    @pytest.mark.parametrize("delay", [MAX_DELAY + timedelta(seconds=1), timedelta(seconds=-1)])
    async def test_refuses_a_delay_out_of_range(self, world: World, delay: timedelta) -> None:
        """SQS allows 0 to 15 minutes; nothing of the batch is sent."""
        queue = world.queue()

        with pytest.raises(ValueError, match="delay"):
            await queue.send([Outgoing("good"), Outgoing("bad", delay=delay)])

        assert await bodies(queue) == []

    async def test_refuses_a_body_over_256_kilobytes(self, world: World) -> None:
        """The limit counts bytes, not characters."""
        queue = world.queue()
        await queue.send([Outgoing("x" * 262_144)])

        with pytest.raises(ValueError, match=r"body|bytes"):
            await queue.send([Outgoing("ü" * 131_073)])


class TestReceive:
    async def test_takes_no_more_than_asked(self, world: World) -> None:
        """A worker takes what it has room for."""
        queue = world.queue()
        await queue.send([Outgoing(str(n)) for n in range(9)])

        assert len(await take(queue, 4)) == 4
        assert len(await take(queue, 10)) == 5

    @pytest.mark.parametrize("limit", [0, 11])
    async def test_refuses_a_limit_out_of_range(self, world: World, limit: int) -> None:
        """SQS gives 1 to 10; so do all."""
        with pytest.raises(ValueError, match="10"):
            await take(world.queue(), limit)

    async def test_hides_what_it_took(self, world: World) -> None:
        """Two workers must not get the same message at once."""
        queue = world.queue()
        await queue.send([Outgoing("x")])

        assert await bodies(queue) == ["x"]
        assert await bodies(queue) == []

    async def test_gives_it_again_when_visibility_ends(self, world: World) -> None:
        """The work of a dead worker returns by itself, and is counted."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        await take(queue)

        world.advance(HALF_MINUTE)

        (message,) = await take(queue)
        assert (message.body, message.receives) == ("x", 2)

    async def test_takes_turns_between_groups(self, world: World) -> None:
        """One server's 200 messages must not hold up another's one."""
        if world.is_emulated:
            pytest.skip(UNFAIR)
        queue = world.queue()
        await queue.send([Outgoing("many", group="busy") for _ in range(200)])
        await queue.send([Outgoing("one", group="quiet"), Outgoing("two", group="rare")])

        got = await bodies(queue)

        assert {"one", "two"} <= set(got)
        assert len(got) == 10

    async def test_single_receives_go_around_the_groups(self, world: World) -> None:
        """Fairness holds from one receive to the next, too."""
        if world.is_emulated:
            pytest.skip(UNFAIR)
        queue = world.queue()
        await queue.send([Outgoing(group, group=group) for group in "abcd" for _ in range(5)])

        taken = [(await bodies(queue, 1))[0] for _ in range(20)]

        assert [set(taken[n : n + 4]) for n in range(0, 20, 4)] == [set("abcd")] * 5

    async def test_more_groups_than_fit_one_batch_all_get_a_turn(self, world: World) -> None:
        """Thirty servers are served by three batches of ten."""
        if world.is_emulated:
            pytest.skip(UNFAIR)
        queue = world.queue()
        await queue.send([Outgoing(f"{n:02d}", group=f"{n:02d}") for n in range(30) for _ in range(3)])

        got = [*await bodies(queue), *await bodies(queue), *await bodies(queue)]

        assert sorted(got) == [f"{n:02d}" for n in range(30)]

    async def test_a_waiting_receive_wakes_for_a_send(self, world: World) -> None:
        """Long polling answers when there is something, not when time is up."""
        queue = world.queue()
        waiting = asyncio.create_task(take(queue, wait=LONG))
        await asyncio.sleep(0)
        assert not waiting.done()

        await queue.send([Outgoing("x")])

        assert [message.body for message in await asyncio.wait_for(waiting, 10)] == ["x"]

    async def test_a_waiting_receive_wakes_for_a_returned_message(self, world: World) -> None:
        """A message handed back is there for others at once."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (message,) = await take(queue)
        waiting = asyncio.create_task(take(queue, wait=LONG))
        await asyncio.sleep(0)

        await queue.extend([message.receipt], NOW)

        assert [again.receives for again in await asyncio.wait_for(waiting, 10)] == [2]

    async def test_a_waiting_receive_wakes_when_a_delay_ends(self, world: World) -> None:
        """A retry that becomes due needs no new send to be noticed."""
        queue = world.queue()
        await queue.send([Outgoing("x", delay=MINUTE)])
        waiting = asyncio.create_task(take(queue, wait=LONG))
        await asyncio.sleep(0)

        world.advance(MINUTE)

        assert [message.body for message in await asyncio.wait_for(waiting, 10)] == ["x"]

    async def test_one_message_goes_to_one_of_many_waiting(self, world: World) -> None:
        """All may wake, but only one gets it."""
        queue = world.queue()
        waiting = [asyncio.create_task(take(queue, wait=timedelta(milliseconds=200))) for _ in range(5)]
        await asyncio.sleep(0)

        await queue.send([Outgoing("x")])

        assert sorted(len(taken) for taken in await asyncio.gather(*waiting)) == [0, 0, 0, 0, 1]

    async def test_a_wait_without_message_ends_empty(self, world: World) -> None:
        """Time being up is no error."""
        assert list(await take(world.queue(), wait=timedelta(milliseconds=20))) == []

    async def test_becomes_a_dead_letter_after_too_many(self, world: World) -> None:
        """A message that crashes every worker must not go round for ever."""
        queue = world.queue(max_receives=2)
        await queue.send([Outgoing("poison")])

        for _ in range(2):
            assert await bodies(queue) == ["poison"]
            world.advance(HALF_MINUTE)

        assert await bodies(queue) == []
        assert await queue.depth() == Depth(ready=0, delayed=0, in_flight=0, dead=1)


class TestExtend:
    async def test_keeps_a_message_hidden(self, world: World) -> None:
        """The heartbeat of a long delivery."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (message,) = await take(queue)
        world.advance(HALF_MINUTE / 2)

        for _ in range(2):
            await queue.extend([message.receipt], MINUTE)

        world.advance(HALF_MINUTE)
        assert await bodies(queue) == []
        world.advance(HALF_MINUTE)
        assert await bodies(queue) == ["x"]

    async def test_zero_returns_it_at_once(self, world: World) -> None:
        """A worker that shuts down hands its messages back."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (message,) = await take(queue)

        for _ in range(2):
            await queue.extend([message.receipt], NOW)

        assert await bodies(queue) == ["x"]
        assert await bodies(queue) == []

    async def test_an_outdated_receipt_is_ignored(self, world: World) -> None:
        """A slow worker must not free a message that another holds now."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (old,) = await take(queue)
        world.advance(HALF_MINUTE)
        await take(queue)

        await queue.extend([old.receipt], NOW)

        assert await bodies(queue) == []

    async def test_a_receipt_that_ran_out_is_ignored(self, world: World) -> None:
        """Once visible again, a message is everybody's (SQS: MessageNotInflight)."""
        if world.is_emulated:
            pytest.skip(LENIENT)
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (message,) = await take(queue)
        world.advance(HALF_MINUTE)

        await queue.extend([message.receipt], MINUTE)

        assert await bodies(queue) == ["x"]

    async def test_unknown_receipts_are_ignored(self, world: World) -> None:
        """Nothing a caller kept for too long may raise."""
        await world.queue().extend(["999.1", "", "no receipt", "1.x", "\u00b2.1", "9" * 5000 + ".1"], MINUTE)


class TestDelete:
    async def test_removes_for_good_and_may_be_repeated(self, world: World) -> None:
        """Done work does not come back."""
        queue = world.queue()
        await queue.send([Outgoing("x"), Outgoing("y")])
        receipts = [message.receipt for message in await take(queue)]

        await queue.delete(receipts)
        await queue.delete(receipts)

        world.advance(HALF_MINUTE)
        assert await bodies(queue) == []
        assert await queue.depth() == Depth(ready=0, delayed=0, in_flight=0, dead=0)

    async def test_an_outdated_receipt_is_ignored(self, world: World) -> None:
        """A slow worker must not remove a message that another works on."""
        queue = world.queue()
        await queue.send([Outgoing("x")])
        (old,) = await take(queue)
        world.advance(HALF_MINUTE)
        await take(queue)

        await queue.delete([old.receipt])

        world.advance(HALF_MINUTE)
        assert await bodies(queue) == ["x"]

    async def test_a_receipt_never_names_a_later_message(self, world: World) -> None:
        """Engines that give row numbers again must not confuse two messages."""
        queue = world.queue()
        await queue.send([Outgoing("first")])
        (first,) = await take(queue)
        await queue.delete([first.receipt])
        await queue.send([Outgoing("second")])
        await take(queue)

        await queue.delete([first.receipt])

        world.advance(HALF_MINUTE)
        assert await bodies(queue) == ["second"]

    async def test_unknown_receipts_are_ignored(self, world: World) -> None:
        """Nothing a caller kept for too long may raise."""
        await world.queue().delete(["999.1", "", "no receipt", "1.x"])


class TestDepth:
    async def test_counts_each_kind(self, world: World) -> None:
        """Operators see what waits and what is being worked on."""
        queue = world.queue()
        await queue.send([Outgoing("r"), Outgoing("r"), Outgoing("r"), Outgoing("d", delay=MINUTE)])
        await take(queue, 1)

        assert await queue.depth() == Depth(ready=2, delayed=1, in_flight=1, dead=0)

    async def test_what_became_due_counts_as_ready(self, world: World) -> None:
        """Nobody needs to receive first for the count to be right."""
        queue = world.queue()
        await queue.send([Outgoing("r"), Outgoing("d", delay=MINUTE)])
        await take(queue, 1)

        world.advance(MINUTE)

        assert await queue.depth() == Depth(ready=2, delayed=0, in_flight=0, dead=0)


class TestCancelledReceive:
    async def test_nothing_stays_taken(self, world: World) -> None:
        """A node that stops must not hide jobs from the others for a whole visibility."""
        queue = world.queue()
        for turns in range(12):
            receiving = asyncio.create_task(queue.receive(10, wait=timedelta(seconds=5), visibility=timedelta(hours=1)))
            await asyncio.sleep(0)
            await queue.send([Outgoing("{}")])
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            taken = [each for each in await asyncio.gather(receiving, return_exceptions=True) if each]

            if taken and isinstance(taken[0], asyncio.CancelledError):
                # Where a request cannot be called back, what it brings is returned after it.
                taken = [await queue.receive(10, wait=LONG, visibility=timedelta(hours=1))]

            assert [len(each) for each in taken] == [1]
