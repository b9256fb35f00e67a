"""The lists of held messages: one for each server, spread over its shards."""

import re
from collections.abc import Sequence
from datetime import datetime

from shared.domain.errors import InvalidValue
from shared.domain.ids import MessageId
from shared.domain.tenancy import Server
from shared.ports import Delete, Equals, Put, Records
from shared.store.items import number
from shared.store.keys import held_key, held_partitions
from shared.store.paging import first_of

_CURSOR = re.compile(r"[0-9]{16}", re.ASCII)


class HeldMessages:
    """Reads and writes the lists."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, server: Server, message_id: MessageId, *, attempt: int, kept_until: datetime) -> None:
        """Put a message on the list.  Twice: it is there once."""
        item = Put(held_key(server, message_id), {"id": message_id, "attempt": attempt}, kept_until)
        await self._records.put(item)

    async def remove(self, server: Server, message_id: MessageId, *, attempt: int) -> None:
        """Remove a message that was held after this attempt; one that was held again since stays."""
        await self._records.delete(Delete(held_key(server, message_id), when=(Equals("attempt", attempt),)))

    async def page(
        self, server: Server, cursor: str | None = None, *, limit: int
    ) -> tuple[Sequence[MessageId], str | None]:
        """Return ids of held messages, oldest first, and the cursor of the next ones, None at the end.

        Raises:
            InvalidValue: this is no cursor.
        """
        if cursor is not None and _CURSOR.fullmatch(cursor) is None:
            raise InvalidValue("this is not a cursor of held messages")
        # All keys have one length: this is right after the last one.
        at_least = "" if cursor is None else f"{cursor}0"
        pairs, complete = await first_of(self._records, held_partitions(server), at_least=at_least, limit=limit)
        some = pairs[:limit]
        more = len(pairs) > limit or not complete
        return [MessageId(number(item, "id")) for _, item in some], some[-1][0].sort if more else None

    async def counted(self, server: Server, *, most: int) -> int:
        """Return how many there are, counted up to ``most``."""
        counted = 0
        for partition in held_partitions(server):
            cursor: str | None = None
            while counted < most:
                page = await self._records.query(partition, limit=1000, cursor=cursor)
                counted += len(page.items)
                cursor = page.cursor
                if cursor is None:
                    break
        return min(counted, most)
