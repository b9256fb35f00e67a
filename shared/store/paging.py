"""Walking through everything that pages hold, one bounded read at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def every(page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]]) -> AsyncIterator[T]:
    """Yield all things of all pages; they may be removed on the way.

    Args:
        page: returns the page at a cursor, None for the first, and the next page's cursor.
    """
    things, cursor = await page(None)
    while True:
        for thing in things:
            yield thing
        if cursor is None:
            return
        things, cursor = await page(cursor)
