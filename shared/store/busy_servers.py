"""Which servers send so much that somebody should look at their shards."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.ids import ServerId
from shared.domain.moments import from_ms, to_ms
from shared.ports import Exists, Records, Update
from shared.store.items import number
from shared.store.keys import busy_key

NOTED_EVERY = timedelta(minutes=1)
FORGOTTEN_AFTER = timedelta(minutes=15)
MAX_NOTED = 10_000
"""Servers one process remembers to have noted."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A busy server, and how many events of the hour had been counted at the last look."""

    server_id: ServerId
    looked_at: datetime
    """1970 before the first look."""

    counted: int


class BusyServers:
    """The list of busy servers; a server that is no longer noted drops out by itself."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._noted: dict[ServerId, datetime] = {}

    async def note(self, server_id: ServerId, now: datetime) -> None:
        """Put a server on the list, or keep it there; one write a minute in each process."""
        last = self._noted.get(server_id)
        if last is not None and timedelta(0) <= now - last < NOTED_EVERY:
            return
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[server_id] = now
        await self._records.update(
            Update(busy_key(server_id), set={"noted": to_ms(now)}, expires_at=now + FORGOTTEN_AFTER)
        )

    async def every(self) -> AsyncIterator[Busy]:
        """Yield all of them."""
        cursor: str | None = None
        while True:
            page = await self._records.query(busy_key(0).partition, cursor=cursor)
            for key, item in page.items:
                yield Busy(ServerId(int(key.sort)), from_ms(number(item, "looked_at")), number(item, "counted"))
            cursor = page.cursor
            if cursor is None:
                return

    async def looked(self, server_id: ServerId, at: datetime, counted: int) -> None:
        """Keep what was seen for the next look."""
        seen = Update(busy_key(server_id), set={"looked_at": to_ms(at), "counted": counted}, when=(Exists(),))
        await self._records.update(seen)
