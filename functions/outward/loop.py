"""An event loop that outlives one run of the function, so that connections stay open between runs."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """Runs coroutines in a thread of its own, those of several callers at once."""

    def __init__(self, new_event_loop: Callable[[], asyncio.AbstractEventLoop], name: str) -> None:
        """Start the thread.

        Args:
            new_event_loop: makes the loop.
            name: of the thread.
        """
        self._loop = new_event_loop()
        # It ends with the process: a function is stopped between its runs, never told to.
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    # Any: what a coroutine yields and is sent concerns the loop only.
    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
