"""How many large requests are worked on at once: their bodies together have a bound.

A request takes room when it turns out to be large and gives it back with its answer.
Who sends small ones never meets any of this.
"""

from dataclasses import dataclass

from functions.api.errors import TEMPORARY, Problem
from shared.room import Room

LARGE_BYTES = 1_000_000
"""A request is large as soon as so much of its body has come."""

AT_ONCE = 2
"""The room, in requests of the largest size.  Each takes up to 2.4 times its message: its body, and what it encodes."""

WAIT_S = 20.0
MOST_WAITING = 50
"""They hold a connection and the first megabyte of their body."""

GRACE_S = 30.0
LEAST_RATE = 64 * 1024
"""Bytes a second that a large body must come with, on average after the grace: it holds room that others wait for."""


class NoRoom(Problem):
    """Too many large requests at once: nothing was decided, the client may repeat."""

    def __init__(self) -> None:
        super().__init__(TEMPORARY.code, TEMPORARY.text, http_status=TEMPORARY.http_status)


@dataclass(frozen=True, slots=True)
class LargeRequests:
    """What the large requests of one application share."""

    room: Room
    grace_s: float = GRACE_S
    least_rate: float = LEAST_RATE

    @classmethod
    def up_to(cls, max_request_bytes: int) -> "LargeRequests":
        """Return room for some of the largest size."""
        return cls(Room(AT_ONCE * max_request_bytes, wait_s=WAIT_S, most_waiting=MOST_WAITING))


@dataclass(slots=True)
class Holding:
    """What one request holds of the room; nothing until it asks."""

    large: LargeRequests
    owner: str = ""
    """The server that sends it, once that is known."""

    size_bytes: int = 0

    @property
    def longest_s(self) -> float:
        """How long the body may take from when the room was taken."""
        return self.large.grace_s + self.size_bytes / self.large.least_rate

    async def take(self, size_bytes: int) -> None:
        """Hold room for that many bytes; what is held already is enough.

        Raises:
            NoRoom: there was none for ``WAIT_S``.
        """
        if self.size_bytes:
            return
        if not await self.large.room.enter(self.owner, size_bytes):
            raise NoRoom
        self.size_bytes = size_bytes

    def release(self) -> None:
        """Give back what is held."""
        if self.size_bytes:
            self.large.room.leave(self.owner, self.size_bytes)
            self.size_bytes = 0
