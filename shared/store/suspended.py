"""Which servers are suspended, in one partition: what serves links reads it once a minute.

A row holds nothing but its key, so that a function without our code for items
(``functions/edge``) can read it too.
"""

from collections.abc import Iterable

from shared.domain.ids import ServerId
from shared.ports import Delete, Put, Records, Write
from shared.store.keys import suspended_key


def suspended_put(server_id: ServerId) -> Write:
    """Return the write that puts a server on the list."""
    return Put(suspended_key(server_id), {"id": server_id})


def suspended_delete(server_id: ServerId) -> Write:
    """Return the write that takes a server off the list."""
    return Delete(suspended_key(server_id))


class Suspended:
    """The list of suspended servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, server_ids: Iterable[ServerId]) -> None:
        """Put servers on the list.  Twice: nothing more."""
        await self._records.put_many([Put(suspended_key(each), {"id": each}) for each in server_ids])

    async def remove(self, server_ids: Iterable[ServerId]) -> None:
        """Take servers off the list.  Twice: nothing more."""
        for each in server_ids:
            await self._records.delete(Delete(suspended_key(each)))

    async def all(self) -> frozenset[int]:
        """Return the ids of all suspended servers."""
        found: set[int] = set()
        cursor: str | None = None
        while True:
            page = await self._records.query(suspended_key(0).partition, limit=1000, cursor=cursor)
            found.update(int(key.sort) for key, _ in page.items)
            cursor = page.cursor
            if cursor is None:
                return frozenset(found)
