"""What all sessions of one process share."""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from shared.room import Room
from smtp_node.receive.gate import ConnectionGate, MemoryBudget, Throttle
from smtp_node.receive.inside import Inside
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.metering import Meter
from smtp_node.receive.tls import TLSContexts

if TYPE_CHECKING:
    from smtp_node.receive.connection import Connection

T = TypeVar("T")


@dataclass(slots=True)
class House:
    """The one shared, changing thing: counters, open sessions, and the way inside."""

    limits: ReceiveLimits
    inside: Inside
    tls: TLSContexts
    meter: Meter
    rng: random.Random
    gate: ConnectionGate
    throttle: Throttle
    """Of failed logins.  Keys are random and long, so it keeps noise and load down rather than guesses out."""

    trouble: Throttle
    """Of sessions that we had to end."""

    memory: MemoryBudget
    large: Room
    """Where large messages are worked on, few at a time."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of a large message whose next piece is taken in: one piece a millisecond."""

    sessions: "set[Connection]" = field(default_factory=set)
    acceptances: set[asyncio.Future[Any]] = field(default_factory=set)
    """Messages on their way inside; Any: what they return is their waiter's."""

    chatter: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The same for commands of clients that send many and no mail."""

    draining: bool = False

    def trace_id(self) -> str:
        """Return eight hexadecimal digits that name a session in greeting and log."""
        return f"{self.rng.getrandbits(32):08x}"

    async def finish(self, work: Awaitable[T]) -> T:
        """Return the work's result; it is finished even if this session is cut meanwhile.

        A half-done acceptance helps nobody: the client will repeat a message whose
        250 it did not see in any case (RFC 1047).
        """
        task = asyncio.ensure_future(work)
        self.acceptances.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self.acceptances.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that a cut session's error is no "never retrieved" warning
