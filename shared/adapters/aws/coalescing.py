"""Many small requests in few large ones: what several callers want at about the same time goes together.

Entries gather for a short window, or until ten of them or their size fill a request.  Each
caller waits until its own entries were acknowledged, and gets its own error.  What gathers
belongs to one event loop, so nothing is shared between the threads of a process, and
nothing is left over when a loop ends.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

E = TypeVar("E")

MOST_ENTRIES = 10
MOST_BYTES = 262_144
"""Of one request (SQS allows 1 MiB since 2025; older emulators 256 KiB, and bills go by 64 KiB)."""


@dataclass(frozen=True, slots=True)
class NotDone:
    """Why an entry was not carried out: an error that each caller gets as its own."""

    kind: type[Exception]
    text: str
    cause: Exception | None = None


class _Ticket:
    """One caller, waiting for all of its entries."""

    def __init__(self, entries: int, loop: asyncio.AbstractEventLoop) -> None:
        self.settled: asyncio.Future[NotDone | None] = loop.create_future()
        self._left = entries
        self._failure: NotDone | None = None

    def settle(self, failure: NotDone | None) -> None:
        """Take the outcome of one entry."""
        self._left -= 1
        self._failure = self._failure or failure
        if not self._left and not self.settled.done():
            self.settled.set_result(self._failure)


@dataclass(slots=True)
class _Gathering(Generic[E]):
    loop: asyncio.AbstractEventLoop
    entries: list[E] = field(default_factory=list)
    tickets: list[_Ticket] = field(default_factory=list)
    size: int = 0


class Coalescer(Generic[E]):
    """Gathers entries into requests.

    Args:
        carry_out: does up to ten entries and returns for each, in order, None or why not.
        size_of: bytes that an entry takes in a request.
        window_s: how long the first entry waits for others; 0 for those of the same turn of the loop.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[E]], Awaitable[Sequence[NotDone | None]]],
        size_of: Callable[[E], int],
        window_s: float,
    ) -> None:
        self._carry_out = carry_out
        self._size_of = size_of
        self._window_s = window_s
        self._local = threading.local()
        self._running: set[asyncio.Task[None]] = set()

    async def add(self, entries: Sequence[E]) -> None:
        """Have all entries carried out, and return when the last one was.

        Raises:
            Exception: what ``carry_out`` said about one entry that failed; others may have been done.
        """
        if not entries:
            return
        loop = asyncio.get_running_loop()
        ticket = _Ticket(len(entries), loop)
        for entry in entries:
            self._gather(entry, ticket, loop)
        failure = await ticket.settled
        if failure is not None:
            raise failure.kind(failure.text) from failure.cause

    def _gather(self, entry: E, ticket: _Ticket, loop: asyncio.AbstractEventLoop) -> None:
        gathering: _Gathering[E] | None = getattr(self._local, "gathering", None)
        size = self._size_of(entry)
        if gathering is not None and gathering.loop is loop and gathering.size + size > MOST_BYTES:
            self._go(gathering)
            gathering = None
        if gathering is None or gathering.loop is not loop:
            gathering = self._local.gathering = _Gathering(loop)
            loop.call_later(self._window_s, self._go, gathering)
        gathering.entries.append(entry)
        gathering.tickets.append(ticket)
        gathering.size += size
        if len(gathering.entries) == MOST_ENTRIES:
            self._go(gathering)

    def _go(self, gathering: _Gathering[E]) -> None:
        """Carry out what was gathered.  Twice: once."""
        if getattr(self._local, "gathering", None) is not gathering:
            return
        self._local.gathering = None
        task = gathering.loop.create_task(self._settle(gathering))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _settle(self, gathering: _Gathering[E]) -> None:
        try:
            outcomes = await self._carry_out(gathering.entries)
        except BaseException as exc:
            # Not expected; but whoever waits must hear of it instead of waiting for ever.
            outcomes = [NotDone(RuntimeError, f"a request ended with {type(exc).__name__}")] * len(gathering.entries)
            raise
        finally:
            for ticket, outcome in zip(gathering.tickets, outcomes, strict=True):
                ticket.settle(outcome)
