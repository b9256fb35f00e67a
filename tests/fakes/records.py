"""Records in a dictionary, for tests of what stands above the port."""

import copy
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.ports import (
    MAX_GROUP_WRITES,
    Absent,
    Condition,
    Delete,
    Equals,
    Exists,
    Item,
    Key,
    LessThan,
    Page,
    Put,
    Update,
    Write,
)


class FakeRecords:
    """``Records`` in memory; keeps copies, so nobody shares an item with it."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Start empty; the clock decides what has expired."""
        self._clock = clock
        self._kept: dict[Key, tuple[Item, datetime | None]] = {}
        self.writes = 0
        """How many were asked for."""

    async def get(self, key: Key) -> Item | None:
        """Return the item, or None."""
        return copy.deepcopy(self._live(key))

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Return those of the items that exist."""
        found = {key: await self.get(key) for key in keys}
        return {key: item for key, item in found.items() if item is not None}

    async def put(self, put: Put) -> bool:
        """Store one item; False if a condition did not hold."""
        return await self.atomically([put])

    async def put_many(self, puts: Sequence[Put]) -> None:
        """Store items without conditions."""
        if any(put.when for put in puts):
            raise ValueError("put_many takes no conditions")
        for put in puts:
            await self.put(put)

    async def update(self, update: Update) -> Item | None:
        """Change one item and return it as it is now; None if a condition did not hold."""
        return await self.get(update.key) if await self.atomically([update]) else None

    async def delete(self, delete: Delete) -> bool:
        """Remove one item; False if a condition did not hold."""
        return await self.atomically([delete])

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Do all writes or none; False if any condition did not hold."""
        if len(writes) > MAX_GROUP_WRITES:
            raise ValueError(f"an atomic group has at most {MAX_GROUP_WRITES} writes")
        if len({write.key for write in writes}) < len(writes):
            raise ValueError("an atomic group names each key once")
        self.writes += len(writes)
        changes = [self._change(write) for write in writes]
        if not all(_holds(each, self._live(write.key)) for write in writes for each in write.when):
            return False
        for write, change in zip(writes, changes, strict=True):
            if change is None:
                self._kept.pop(write.key, None)
            else:
                self._kept[write.key] = change
        return True

    async def query(
        self,
        partition: str,
        *,
        at_least: str = "",
        below: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of one partition."""
        if limit < 1:
            raise ValueError("a page holds at least 1 item")
        keys = sorted(
            (
                key
                for key in self._kept
                if key.partition == partition
                and key.sort >= at_least
                and (below is None or key.sort < below)
                and (cursor is None or (key.sort < cursor if newest_first else key.sort > cursor))
                and self._live(key) is not None
            ),
            reverse=newest_first,
        )
        items = [(key, copy.deepcopy(self._kept[key][0])) for key in keys[:limit]]
        return Page(items, keys[limit - 1].sort if len(keys) > limit else None)

    def _live(self, key: Key) -> Item | None:
        item, expires_at = self._kept.get(key, (None, None))
        return None if expires_at is not None and expires_at <= self._clock() else item

    def _change(self, write: Write) -> tuple[Item, datetime | None] | None:
        """Return what will lie under the key; None for nothing."""
        if isinstance(write, Delete):
            return None
        if isinstance(write, Put):
            return copy.deepcopy(write.item), write.expires_at
        named = [*write.set, *write.add, *write.remove]
        if len(set(named)) < len(named):
            raise ValueError("an update names each attribute once")
        before = self._live(write.key)
        expires_at = self._kept[write.key][1] if before is not None else None
        after = {name: value for name, value in (before or {}).items() if name not in write.remove}
        after |= copy.deepcopy(write.set)
        for name, amount in write.add.items():
            number = after.get(name, 0)
            if type(number) is not int:
                raise ValueError(f"cannot add to attribute {name}")
            after[name] = number + amount
        return after, write.expires_at or expires_at


def _holds(condition: Condition, item: Item | None) -> bool:
    if isinstance(condition, Absent):
        return item is None
    if item is None:
        return False
    if isinstance(condition, Exists):
        return True
    found = item.get(condition.attribute)
    if isinstance(condition, LessThan):
        return isinstance(found, int) and not isinstance(found, bool) and found < condition.value
    assert isinstance(condition, Equals)
    return type(found) is type(condition.value) and found == condition.value
