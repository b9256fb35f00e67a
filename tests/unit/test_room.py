"""Room in memory: who is let in, who waits, who is sent away."""

import asyncio

import pytest

from shared.room import Room
from tests.fakes.eventually import eventually


def room_of(limit_bytes: int, *, wait_s: float = 60, most_waiting: int = 10) -> Room:
    """Return a room with patience."""
    return Room(limit_bytes, wait_s=wait_s, most_waiting=most_waiting)


def entering(room: Room, owner: str, size_bytes: int) -> asyncio.Task[bool]:
    """Return a task that wants to get in."""
    return asyncio.create_task(room.enter(owner, size_bytes))


class TestEnter:
    async def test_lets_in_up_to_the_limit(self) -> None:
        """The sum is what a machine must have."""
        room = room_of(100)

        assert await room.enter("a", 50)
        assert await room.enter("b", 50)
        third = entering(room, "c", 1)
        await eventually(lambda: room.waiting)

        assert room.held_bytes == 100
        room.leave("a", 50)
        assert await third
        assert room.held_bytes == 51

    async def test_what_is_larger_than_the_room_goes_alone(self) -> None:
        """A limit that is set too low must not lock messages out for good."""
        room = room_of(100)
        assert await room.enter("a", 500)
        other = entering(room, "b", 1)
        await eventually(lambda: room.waiting)

        room.leave("a", 500)

        assert await other

    async def test_in_order(self) -> None:
        """Nobody waits for ever because smaller ones fit into every gap."""
        room = room_of(100)
        assert await room.enter("a", 60)
        large = entering(room, "b", 50)
        await eventually(lambda: room.waiting == 1)
        small = entering(room, "c", 10)
        await eventually(lambda: room.waiting == 2)

        assert not small.done()
        room.leave("a", 60)

        assert await large
        assert await small

    async def test_an_owner_gets_half(self) -> None:
        """One tenant's many large messages leave room for another's."""
        room = room_of(100)
        assert await room.enter("many", 30)
        second = entering(room, "many", 30)
        await eventually(lambda: room.waiting)

        assert await room.enter("other", 50)
        assert not second.done()
        room.leave("many", 30)

        assert await second

    async def test_who_waits_too_long_is_sent_away(self) -> None:
        """Their caller has a limit too."""
        room = room_of(10, wait_s=0.01)
        assert await room.enter("a", 10)

        assert not await room.enter("b", 10)

        assert (room.waiting, room.held_bytes) == (0, 10)

    async def test_who_comes_to_a_full_line_is_sent_away_at_once(self) -> None:
        """Each in line holds something."""
        room = room_of(10, most_waiting=1)
        assert await room.enter("a", 10)
        first = entering(room, "b", 10)
        await eventually(lambda: room.waiting)

        assert not await room.enter("c", 10)

        room.leave("a", 10)
        assert await first

    async def test_who_leaves_the_line_lets_the_next_one_pass(self) -> None:
        """A client that is gone blocks nobody."""
        room = room_of(100)
        assert await room.enter("a", 40)
        gone = entering(room, "b", 90)
        await eventually(lambda: room.waiting == 1)
        following = entering(room, "c", 50)
        await eventually(lambda: room.waiting == 2)

        gone.cancel()

        assert await following
        assert room.held_bytes == 90

    async def test_who_is_cancelled_while_let_in_holds_nothing(self) -> None:
        """Whichever comes first, no byte of the room is lost."""
        for let_in_first in (True, False):
            room = room_of(10)
            assert await room.enter("a", 10)
            unlucky = entering(room, "b", 10)
            await eventually(lambda room=room: room.waiting)

            if let_in_first:
                room.leave("a", 10)
                unlucky.cancel()
            else:
                unlucky.cancel()
                room.leave("a", 10)
            with pytest.raises(asyncio.CancelledError):
                await unlucky

            assert (room.waiting, room.held_bytes) == (0, 0)
