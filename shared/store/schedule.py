"""What is due later than a queue can delay: retries, hold expiries.

Entries lie under (due minute, shard) and a key that is the same however often the
same entry is put.  The cursor is the oldest minute that is not finished.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.moments import to_ms
from shared.ports import Absent, Delete, Item, Key, LessThan, Put, Records, Update
from shared.store.keys import SCHEDULE_SHARDS, minute_of, schedule_cursor_key, schedule_partition

PAGE = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to be done at a moment."""

    due: datetime
    server_id: int
    message_id: int
    attempt: int
    kind: str
    item: Item

    @property
    def key(self) -> Key:
        """The same for the same entry."""
        sort = f"{to_ms(self.due):013d}#{self.server_id:010d}#{self.message_id:016d}#{self.attempt:04d}#{self.kind}"
        return Key(schedule_partition(minute_of(self.due), self.message_id % SCHEDULE_SHARDS), sort)


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A stored entry that is due, by its key."""

    key: Key
    item: Item


class Schedule:
    """The entries of the whole installation."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, entry: Entry) -> bool:
        """Store an entry; False if its minute was finished before, so nobody would find it.

        Twice: the same entry.
        """
        await self._records.put(Put(entry.key, entry.item))
        cursor = await self.cursor()
        return cursor is None or cursor <= minute_of(entry.due)

    async def due(self, minute: int, now: datetime) -> AsyncIterator[Sequence[DueEntry]]:
        """Yield pages of the entries of a minute that are due by now, in order within each shard."""
        below = f"{to_ms(now) + 1:013d}"
        for shard in range(SCHEDULE_SHARDS):
            cursor: str | None = None
            while True:
                page = await self._records.query(
                    schedule_partition(minute, shard), below=below, limit=PAGE, cursor=cursor
                )
                if page.items:
                    yield [DueEntry(key, item) for key, item in page.items]
                cursor = page.cursor
                if cursor is None:
                    break

    async def remove(self, entry: DueEntry) -> None:
        """Remove an entry whose work is done."""
        await self._records.delete(Delete(entry.key))

    async def put_off(self, entry: DueEntry, until: datetime) -> None:
        """Store the entry again under a later moment; the caller removes this one."""
        shard = int(entry.key.partition.rpartition("#")[2])
        _, _, names = entry.key.sort.partition("#")
        later = Key(schedule_partition(minute_of(until), shard), f"{to_ms(until):013d}#{names}")
        await self._records.put(Put(later, entry.item))

    async def cursor(self) -> int | None:
        """Return the oldest unfinished minute, or None before the first run."""
        item = await self._records.get(schedule_cursor_key())
        return int(str(item["minute"])) if item else None

    async def start(self, minute: int) -> int:
        """Set the cursor if there is none yet, and return it."""
        await self._records.put(Put(schedule_cursor_key(), {"minute": minute}, when=(Absent(),)))
        return await self.cursor() or minute

    async def advance(self, minute: int) -> None:
        """Move the cursor on to this minute; it never moves back."""
        await self._records.update(
            Update(schedule_cursor_key(), set={"minute": minute}, when=(LessThan("minute", minute),))
        )
