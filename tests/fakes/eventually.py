"""Waiting for what other tasks will have done, without guessing how long it takes."""

import asyncio
from collections.abc import Callable


async def eventually(done: Callable[[], object], *, within_s: float = 20) -> None:
    """Let the other tasks run until the condition holds; TimeoutError if it never does."""
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
