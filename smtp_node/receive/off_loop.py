"""Where work on a message is done: on the event loop if it is quick, else in the thread for such work."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from shared.domain.headers import is_head_short

P = ParamSpec("P")
T = TypeVar("T")

QUICK_BYTES = 262_144
"""Going once over more holds up other sessions: 25 MB take a tenth of a second to hash."""


def is_quick(raw: bytes | bytearray) -> bool:
    """Whether going over the message is a matter of a millisecond."""
    return len(raw) <= QUICK_BYTES and is_head_short(raw)


async def off_loop(quick: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:  # noqa: FBT001 - read as "off the loop unless it is quick"
    """Do the work on the loop only if it is quick."""
    if quick:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
