"""Threads of our own for the SDK's blocking calls, so that any event loop can wait for them.

Nothing here belongs to a loop: a function that calls ``asyncio.run`` for each invocation,
several loops in threads of one process and a node under uvloop all share the same threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

CALLS = 32
"""Calls at once; boto3 uses a processor for about 1.5 ms a call, so more would only wait for it."""

POLLS = 16
"""Long polls at once: a thread each for up to 20 seconds, apart from the others so that none waits for them."""


class Threads:
    """Runs blocking calls; made threads stay for the life of the process."""

    def __init__(self, caller: str) -> None:
        self._calls = ThreadPoolExecutor(CALLS, thread_name_prefix=f"aws-{caller}")
        self._polls = ThreadPoolExecutor(POLLS, thread_name_prefix=f"aws-poll-{caller}")

    async def run(self, call: Callable[[], T]) -> T:
        """Return the call's result.  Cancelled: a call that has begun goes on, unheard."""
        return await asyncio.wrap_future(self._calls.submit(call))

    def start(self, call: Callable[[], T]) -> "Future[T]":
        """Begin a call whose result somebody may or may not wait for."""
        return self._calls.submit(call)

    def poll(self, call: Callable[[], T]) -> "Future[T]":
        """Begin a call that may take as long as a long poll."""
        return self._polls.submit(call)

    def close(self) -> None:
        """Let what has begun end by itself; new calls are refused."""
        self._calls.shutdown(wait=False)
        self._polls.shutdown(wait=False)
