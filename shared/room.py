"""Room in memory for large things: so many bytes at once, whatever is beyond waits in line or is sent away.

Small things never ask for room, so they never wait.  Of one owner's things no more than
half the room is taken, so that an owner who sends many, or whose things stay for long,
leaves the other half to the others.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Waiting:
    owner: str
    size_bytes: int
    admitted: asyncio.Future[None]


class Room:
    """Lets things in while their bytes together stay below a limit; one event loop's.

    Args:
        limit_bytes: of all things together; a larger one is let in alone.
        wait_s: longest wait in line.
        most_waiting: things in line at once.
    """

    def __init__(self, limit_bytes: int, *, wait_s: float, most_waiting: int) -> None:
        self._limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._most_waiting = most_waiting
        self._owned: Counter[str] = Counter()
        self._line: list[_Waiting] = []
        self.held_bytes = 0

    @property
    def waiting(self) -> int:
        """Return how many things are in line."""
        return len(self._line)

    async def enter(self, owner: str, size_bytes: int) -> bool:
        """Take room, to be given back by ``leave``; False if there was none in time."""
        mine = _Waiting(owner, size_bytes, asyncio.get_running_loop().create_future())
        self._line.append(mine)
        self._admit()
        if len(self._line) > self._most_waiting and self._line[-1] is mine:
            self._line.pop()
            return False
        try:
            async with asyncio.timeout(self._wait_s):
                await mine.admitted
        except BaseException as exc:
            # Both may happen at once: it was let in, and its time was up or it was cancelled.
            if mine in self._line:
                self._line.remove(mine)
                self._admit()
            else:
                self.leave(owner, size_bytes)
            if isinstance(exc, TimeoutError):
                return False
            raise
        return True

    def leave(self, owner: str, size_bytes: int) -> None:
        """Give back what ``enter`` took."""
        self.held_bytes -= size_bytes
        self._owned[owner] -= size_bytes
        if not self._owned[owner]:
            del self._owned[owner]
        self._admit()

    def _admit(self) -> None:
        """Let in who fits, in order; only those whose owner has enough already are overtaken."""
        for each in list(self._line):
            if each.admitted.done():
                continue  # cancelled a moment ago
            owned = self._owned[each.owner]
            if owned and owned + each.size_bytes > self._limit_bytes // 2:
                continue
            if self.held_bytes and self.held_bytes + each.size_bytes > self._limit_bytes:
                return
            self._line.remove(each)
            self.held_bytes += each.size_bytes
            self._owned[each.owner] += each.size_bytes
            each.admitted.set_result(None)
