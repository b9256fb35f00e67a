"""How much one destination gets of a node: slots that grow with success, a pause after failure.

A destination that is dead or slow would otherwise take all slots of a node.
Each starts with few; every success adds one, every lost connection takes one
away, as Postfix does (qmgr, default_destination_concurrency_*_feedback).

==========================  ======================================================
what a job finds            what becomes of it
==========================  ======================================================
a free slot                 it is delivered
a short line before it      it waits its turn in this node
a long line, here or in     ``Crowded``: back to the queue until about the moment
all lines together          at which its turn would come
a destination just found    ``Dead``: fails softly with the failure of the others,
dead                        without another connection (Postal reuses a batch's
                            connect error in the same way)
==========================  ======================================================
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

START_SLOTS = 5
LONGEST_LINE = 80
"""Jobs that wait in this node for one destination."""

FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 300.0
DEAD_AFTER = 3
"""Failures to reach it in a row, after which a destination counts as dead."""

FIRST_RETURN_S = 1.0
LONGEST_RETURN_S = 600.0
"""Jobs sent away come back no sooner and no later; a queue can delay by 15 minutes."""

SLOWEST_PACE_S = 1.0
PACE_WEIGHT = 0.1
RETURNS_PER_TURN = 1.25
"""A few more come back than can be taken, so that the line never runs dry."""

MAX_DESTINATIONS = 20_000


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot was taken; ``leave`` must give it back."""


@dataclass(frozen=True, slots=True)
class Crowded:
    """Too many wait in this node already."""

    wait: timedelta
    """After this the job should come again."""


@dataclass(frozen=True, slots=True)
class Dead:
    """The destination could not be reached a moment ago."""

    reason: str


Turn: TypeAlias = Slot | Crowded | Dead


@dataclass(slots=True)
class _Destination:
    taken: int = 0
    slots: int = START_SLOTS
    line: deque[asyncio.Future[None]] = field(default_factory=deque)
    failures: int = 0
    dead_until: float = 0.0
    reason: str = ""
    pace_s: float = SLOWEST_PACE_S / 10
    """Mean time between two jobs that ended."""

    ended_at: float = 0.0
    next_return: float = 0.0
    """When the job that is sent away next should come back."""


class Destinations:
    """The destinations of one node, in memory only: each node learns for itself.

    Args:
        most_slots: deliveries at once to one destination.
        most_waiting: jobs in all lines together, so that a few slow destinations leave room for the others.
        monotonic: the clock, in seconds.
        time_factor: divides pauses, for tests.
    """

    def __init__(
        self, most_slots: int, most_waiting: int, *, monotonic: Callable[[], float], time_factor: float = 1.0
    ) -> None:
        self._most = most_slots
        self._most_waiting = most_waiting
        self.waiting = 0
        self._monotonic = monotonic
        self._factor = time_factor
        self._known: dict[str, _Destination] = {}

    async def enter(self, name: str) -> Turn:
        """Wait for a slot if the line is short, and say what the job's turn is."""
        there = self._get(name)
        if self._monotonic() < there.dead_until:
            return Dead(there.reason)
        if there.taken < there.slots:
            there.taken += 1
            return Slot()
        if len(there.line) >= LONGEST_LINE or self.waiting >= self._most_waiting:
            return Crowded(self._return_of(there))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        there.line.append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(there)
            raise
        finally:
            self.waiting -= 1
        if self._monotonic() < there.dead_until:
            self._give_back(there)
            return Dead(there.reason)
        return Slot()

    def leave(self, name: str, *, reached: bool | None, reason: str = "") -> None:
        """Give a slot back.

        Args:
            name: as given to ``enter``.
            reached: whether a host held a conversation with us, whatever it said
                about the message; None if nothing was learnt of it.
            reason: why it was not reached, for those that wait.
        """
        there = self._get(name)
        now = self._monotonic()
        there.pace_s += PACE_WEIGHT * (min(now - there.ended_at, SLOWEST_PACE_S) - there.pace_s)
        there.ended_at = now
        if reached:
            there.failures = 0
            there.slots = min(self._most, there.slots + 1)
        elif reached is False:
            there.failures += 1
            there.slots = max(1, there.slots - 1)
            if there.failures >= DEAD_AFTER:
                doubled = FIRST_PAUSE_S * 2 ** min(there.failures - DEAD_AFTER, 8)
                there.dead_until = now + min(LONGEST_PAUSE_S, doubled) / self._factor
                there.reason = reason
        self._give_back(there)

    def _return_of(self, there: _Destination) -> timedelta:
        """Return when a job should come back: one after the other, at the pace of the destination.

        A fixed wait would bring thousands back at once, in front of everybody else's mail.
        """
        now = self._monotonic()
        turn = max(there.next_return, now + FIRST_RETURN_S) + there.pace_s / RETURNS_PER_TURN
        there.next_return = min(turn, now + LONGEST_RETURN_S)
        return timedelta(seconds=there.next_return - now) / self._factor

    def _give_back(self, there: _Destination) -> None:
        """Hand slots to those who wait, as far as there are any."""
        there.taken -= 1
        while there.line and there.taken < there.slots:
            turn = there.line.popleft()
            if not turn.done():
                there.taken += 1
                turn.set_result(None)

    def _get(self, name: str) -> _Destination:
        there = self._known.get(name)
        if there is None:
            if len(self._known) >= MAX_DESTINATIONS:
                # What is learnt again cheaply is forgotten: idle, and not dead.
                now = self._monotonic()
                self._known = {n: d for n, d in self._known.items() if d.taken or d.line or d.dead_until > now}
            there = self._known[name] = _Destination()
        return there
