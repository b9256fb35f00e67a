"""Room for large messages in a node: they wait or come later, the others never do."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from shared.domain.message import Message, Status
from shared.room import Room
from smtp_node.deliver.attempt import LARGE_BYTES, NO_ROOM_WAIT
from smtp_node.deliver.worker import Worker
from tests.fakes.eventually import eventually
from tests.fakes.installation import RAW, Installation, install
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of

LARGE = RAW + b"a line of a large message\r\n" * (LARGE_BYTES // 25)


def limited(here: Installation, sender: ScriptedSender, room: Room) -> Worker:
    """Return a worker with another room."""
    worker = worker_of(here, sender)
    worker.jobs = replace(worker.jobs, attempts=replace(worker.jobs.attempts, room=room))
    return worker


async def both(here: Installation) -> tuple[Message, Message]:
    """Accept a large message and a small one."""
    return await here.accept_one("large@dest.test", raw=LARGE), await here.accept_one("small@dest.test")


class TestRoom:
    async def test_without_room_a_large_message_comes_later_and_a_small_one_goes(self) -> None:
        """It costs no attempt: the limit is ours."""
        here = await install()
        large, small = await both(here)
        sender = ScriptedSender()
        room = Room(1_000_000, wait_s=0, most_waiting=5)
        assert await room.enter("others", 1_000_000)

        await work_until(limited(here, sender, room), lambda: here.work.sent == 3 and here.events.sent == 1)

        after = await here.message(large.id)
        assert [plan.rcpt_to for plan in sender.plans] == ["small@dest.test"]
        assert (after.status, after.attempt, after.failures, after.claims) == (Status.PENDING, large.attempt, 0, 0)
        assert (await here.message(small.id)).status is Status.SENT

        room.leave("others", 1_000_000)
        here.clock.advance(2 * NO_ROOM_WAIT + timedelta(seconds=1))
        await work_until(limited(here, sender, room), lambda: here.events.sent == 2)

        assert (await here.message(large.id)).status is Status.SENT
        assert room.held_bytes == 0

    async def test_large_messages_are_in_memory_one_by_one(self) -> None:
        """As many as fit, however many jobs are in hand."""
        here = await install()
        for number in range(4):
            await here.accept(f"user{number}@dest.test", raw=LARGE)
        await here.accept("small@dest.test")
        sender = ScriptedSender(gate=asyncio.Event())
        room = Room(len(LARGE) * 3 // 2, wait_s=60, most_waiting=5)
        worker = limited(here, sender, room)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))

        await eventually(lambda: room.waiting == 3 and len(sender.plans) == 2)
        held = room.held_bytes
        assert sender.gate is not None
        sender.gate.set()
        await eventually(lambda: here.events.sent == 5)
        stop.set()
        await running

        assert held == len(LARGE)
        assert len(sender.plans) == 5
        assert room.held_bytes == 0

    async def test_room_is_given_back_when_the_body_is_gone(self) -> None:
        """Whatever ends the attempt."""
        here = await install()
        large = await here.accept_one(raw=LARGE)
        await here.bodies.delete(large.body_key)
        room = Room(1_000_000, wait_s=0, most_waiting=5)

        await work_until(limited(here, ScriptedSender(), room), lambda: here.events.sent == 1)

        assert (await here.message(large.id)).status is Status.HARD_FAIL
        assert room.held_bytes == 0
