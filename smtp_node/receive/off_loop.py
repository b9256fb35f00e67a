"""Work on a whole message without holding up the other sessions."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

OFF_LOOP_BYTES = 262_144
"""Larger messages are worked on in a thread: 25 MB take a tenth of a second to judge or to hash."""


async def off_loop(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work at once if the message is small, else in a thread."""
    if size_bytes <= OFF_LOOP_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
