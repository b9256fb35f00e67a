"""Wakes whoever waits for a queue: at once for this process, within a tick for others.

SQLite tells nobody about a commit of another process, so while somebody waits,
each event loop looks at ``PRAGMA data_version`` (a few microseconds) every ``TICK_S``.
The same tick notices that a delayed message became due and that a wait is over.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from shared.domain.errors import StorageUnavailable

TICK_S = 0.015


class Listener:
    """One wait for a queue; use it on the loop that made it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: str, now_ms: Callable[[], int], wait: timedelta) -> None:
        """Start to listen; ``now_ms`` is the clock by which messages become due."""
        self.loop = loop
        self.queue = queue
        self._now_ms = now_ms
        self._deadline_s = loop.time() + wait.total_seconds()
        self._due_ms: int | None = None
        self._called = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Say whether the whole time of waiting has passed."""
        return self.loop.time() >= self._deadline_s

    async def wait(self, due_ms: int | None) -> None:
        """Return when something may have arrived, ``due_ms`` has come, or time is up."""
        self._due_ms = due_ms
        await self._called.wait()
        self._called.clear()

    def call(self) -> None:
        """End the wait, or the next one if none is running."""
        self._called.set()

    def call_if_due(self) -> None:
        """End the wait if its time has come."""
        if self.is_over or (self._due_ms is not None and self._now_ms() >= self._due_ms):
            self._called.set()


class Arrivals:
    """Who waits for which queue in this process."""

    def __init__(self, data_version: Callable[[], int]) -> None:
        """Make it; ``data_version`` gives a number that changes with each foreign commit."""
        self._data_version = data_version
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.AbstractEventLoop, list[Listener]] = {}

    @contextmanager
    def listen(self, queue: str, *, now_ms: Callable[[], int], wait: timedelta) -> Iterator[Listener]:
        """Give a listener that misses nothing committed from now on."""
        listener = Listener(asyncio.get_running_loop(), queue, now_ms, wait)
        with self._lock:
            others = self._listeners.setdefault(listener.loop, [])
            others.append(listener)
        try:
            if len(others) == 1:
                self._tick_again(listener.loop, others, self._data_version())
            yield listener
        finally:
            with self._lock:
                others.remove(listener)
                if not others:
                    del self._listeners[listener.loop]

    def announce(self, queue: str) -> None:
        """Wake those who wait for the queue, on whichever loop."""
        with self._lock:
            called = [each for those in self._listeners.values() for each in those if each.queue == queue]
        if not called:
            return
        here = asyncio.get_running_loop()
        for each in called:
            if each.loop is here:
                each.call()
            elif not each.loop.is_closed():
                each.loop.call_soon_threadsafe(each.call)

    def _tick_again(self, loop: asyncio.AbstractEventLoop, listeners: list[Listener], version: int) -> None:
        loop.call_later(TICK_S, self._tick, loop, listeners, version)

    def _tick(self, loop: asyncio.AbstractEventLoop, listeners: list[Listener], version: int) -> None:
        """Call the listeners of this loop that have a reason to look; stop when there are none."""
        if not listeners:
            return
        try:
            seen = self._data_version()
        except StorageUnavailable:
            # Each waiting caller meets the same error when it looks, and reports it.
            seen = version - 1
        for each in listeners:
            if seen != version:
                each.call()
            else:
                each.call_if_due()
        self._tick_again(loop, listeners, seen)
