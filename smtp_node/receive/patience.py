"""One timer per session that is moved often and set seldom."""

import asyncio
from collections.abc import Callable


class Patience:
    """Calls back once a deadline has passed that was not moved in time.

    A later deadline only changes a number; the timer finds it when it fires.
    Sessions move their deadline with every command, so this is what keeps a
    busy server from filling its loop with cancelled timers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, run_out: Callable[[], None]) -> None:
        self._loop = loop
        self._run_out = run_out
        self._deadline = 0.0
        self._fires_at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def until(self, deadline: float) -> None:
        """Move the deadline, to an earlier or later moment of the loop's clock."""
        self._deadline = deadline
        if self._handle is None or deadline < self._fires_at:
            self._set()

    def cancel(self) -> None:
        """Never call back (asyncio's timer handles have the same method)."""
        if self._handle is not None:
            self._handle.cancel()

    def _set(self) -> None:
        self.cancel()
        self._fires_at = self._deadline
        self._handle = self._loop.call_at(self._deadline, self._fired)

    def _fired(self) -> None:
        if self._loop.time() < self._deadline:
            self._set()
        else:
            self._run_out()
