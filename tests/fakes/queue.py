"""A queue in a list, for tests of what stands above the port."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.ports import MAX_DELAY, Depth, Outgoing, Received

MAX_BODY_BYTES = 262_144
LOOK_AGAIN_S = 0.005


@dataclass
class _Message:
    number: int
    group: str
    body: str
    sent_at: datetime
    visible_at: datetime
    receives: int = 0

    @property
    def receipt(self) -> str:
        return f"{self.number}.{self.receives}"


class FakeQueue:
    """``Queue`` in memory; ``dead_letters`` shows what was received too often, ``sent`` counts."""

    def __init__(self, clock: Callable[[], datetime], max_receives: int = 50) -> None:
        """Start empty; the clock decides what is visible."""
        self.dead_letters: list[str] = []
        self.sent = 0
        self._clock = clock
        self._max_receives = max_receives
        self._numbers = itertools.count(1)
        self._messages: dict[int, _Message] = {}
        self._last_group = ""

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Put messages on the queue."""
        now = self._clock()
        for each in messages:
            if len(each.body.encode()) > MAX_BODY_BYTES or not timedelta(0) <= each.delay <= MAX_DELAY:
                raise ValueError("a body or a delay is over its limit")
        for each in messages:
            message = _Message(next(self._numbers), each.group, each.body, now, now + each.delay)
            self._messages[message.number] = message
            self.sent += 1

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Sequence[Received]:
        """Take up to ``limit`` messages; waits up to ``wait`` of real time for the first."""
        if not 1 <= limit <= 10:
            raise ValueError("a receive takes 1 to 10 messages")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait.total_seconds()
        taken = self._take(limit, visibility)
        while not taken and loop.time() < deadline_s:
            await asyncio.sleep(LOOK_AGAIN_S)
            taken = self._take(limit, visibility)
        return taken

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Set how long from now the messages stay hidden; 0 returns them at once."""
        now = self._clock()
        for message in self._named(receipts):
            if message.visible_at > now:
                message.visible_at = now + visibility

    async def delete(self, receipts: Sequence[str]) -> None:
        """Remove messages; an outdated receipt is ignored."""
        for message in self._named(receipts):
            del self._messages[message.number]

    async def depth(self) -> Depth:
        """Count what lies on the queue."""
        self._bury()
        now = self._clock()
        hidden = [message for message in self._messages.values() if message.visible_at > now]
        delayed = sum(1 for message in hidden if message.receives == 0)
        return Depth(
            ready=len(self._messages) - len(hidden),
            delayed=delayed,
            in_flight=len(hidden) - delayed,
            dead=len(self.dead_letters),
        )

    def _take(self, limit: int, visibility: timedelta) -> list[Received]:
        self._bury()
        now = self._clock()
        ready: dict[str, list[_Message]] = {}
        for message in self._messages.values():
            if message.visible_at <= now:
                ready.setdefault(message.group, []).append(message)
        groups = sorted(ready, key=lambda group: (group <= self._last_group, group))
        taken: list[Received] = []
        while len(taken) < limit and any(ready.values()):
            for group in groups:
                if ready[group] and len(taken) < limit:
                    message = ready[group].pop(0)
                    message.receives += 1
                    message.visible_at = now + visibility
                    self._last_group = group
                    taken.append(Received(message.body, message.receipt, message.receives, message.sent_at))
        return taken

    def _bury(self) -> None:
        """Move visible messages that were received too often to the dead letters."""
        now = self._clock()
        for message in list(self._messages.values()):
            if message.visible_at <= now and message.receives >= self._max_receives:
                self.dead_letters.append(self._messages.pop(message.number).body)

    def _named(self, receipts: Sequence[str]) -> list[_Message]:
        known = {message.receipt: message for message in self._messages.values() if message.receives}
        return [known[receipt] for receipt in dict.fromkeys(receipts) if receipt in known]
