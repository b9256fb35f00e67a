"""Walking through everything that pages hold, one bounded read at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from shared.ports import Item, Key, Records

T = TypeVar("T")
Pairs: TypeAlias = Sequence[tuple[Key, Item]]


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


async def first_of(
    records: Records, partitions: Sequence[str], *, at_least: str, below: str | None = None, limit: int
) -> tuple[Pairs, bool]:
    """Return the first items of several partitions in the order of their sort keys, and whether these are all.

    At least one unless there is none, and never one behind which another may be missing.

    Args:
        records: where they lie.
        partitions: no sort key stands in two of them.
        at_least: as ``Records.query`` has it.
        below: the same.
        limit: items read of each partition.
    """
    some = await asyncio.gather(*(_beginning(records, each, at_least, below, limit) for each in partitions))
    # Beyond the last item that was read of a partition, there may be more in it.
    ends = [pairs[-1][0].sort for pairs, complete in some if not complete]
    sure = [pair for pairs, _ in some for pair in pairs if not ends or pair[0].sort <= min(ends)]
    return sorted(sure, key=lambda pair: pair[0].sort), not ends


async def _beginning(
    records: Records, partition: str, at_least: str, below: str | None, limit: int
) -> tuple[Pairs, bool]:
    """Return the first items of one partition, and whether these are all; pages may be empty for what has expired."""
    cursor: str | None = None
    while True:
        page = await records.query(partition, at_least=at_least, below=below, limit=limit, cursor=cursor)
        cursor = page.cursor
        if page.items or cursor is None:
            return page.items, cursor is None
