"""The event log of a server: everything in the order of recording, from any point on.

A cursor never skips an event: pages of the log are there, open, before anybody
reads their moment (``shared.store.event_flushes``).  A page that stays open is
waited for, then made dead; its events are listed by a later flush.
"""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue
from shared.domain.event import Event, EventKind
from shared.domain.moments import to_ms
from shared.domain.tenancy import Server, shards_at
from shared.ports import Item, Key, Records
from shared.store.event_flushes import READ_AFTER, listed_keys, make_dead
from shared.store.events import Events
from shared.store.keys import MAX_LOG_SHARDS, flushed_at, log_partition, named_by_event_key
from shared.store.paging import first_of

MAX_READ = 500
"""Events one read returns at most."""

MAX_DAYS = 10
"""Days one read looks through; over a longer silence it takes some reads."""

WAITED_FOR = timedelta(seconds=30)
"""So long a reader stops before an open page; then it is made dead."""

_PAGES_AT_ONCE = 10
_DAY = timedelta(days=1)
_CURSOR = re.compile(r"([0-9]{13}(?:[0-9]{3}[0-9a-f]{16})?)\.([0-9]{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some events in the order of recording."""

    events: Sequence[Event]
    cursor: str
    """Where the next read goes on; good for as long as events are kept."""

    more: bool
    """Whether the next read may have something at once."""


def cursor_at(moment: datetime) -> str:
    """Return the cursor at which reading begins with what was recorded at that moment."""
    return f"{_beginning(moment)}.0"


class EventLog:
    """Reads the logs of all servers.

    Args:
        records: where they lie.
        kept: how long events are kept.
    """

    def __init__(self, records: Records, *, kept: timedelta) -> None:
        self._records = records
        self._events = Events(records)
        self._kept = kept

    async def read(
        self, server: Server, cursor: str, *, kinds: Collection[EventKind] = (), limit: int = 100, now: datetime
    ) -> LogPage:
        """Return events from the cursor on; none that was recorded less than ``READ_AFTER`` ago.

        Args:
            server: whose log.
            cursor: of an earlier read, or of ``cursor_at``.
            kinds: only these; empty for all.
            limit: events at most; never over ``MAX_READ``.
            now: the moment.

        Raises:
            InvalidValue: this is no cursor.
        """
        flush, passed = _parsed(cursor)
        oldest = _beginning(now - self._kept - _DAY)
        if flush < oldest:
            flush, passed = oldest, 0
        keys: list[Key] = []
        more = True
        async for name, listed in self._pages(server, flush, now):
            if listed is None:
                more = False
                break
            behind = passed if name == flush else 0
            for index, key in enumerate(listed[behind:], behind):
                if len(keys) >= min(limit, MAX_READ):
                    return await self._page(keys, f"{name}.{index}", more=True)
                if not kinds or named_by_event_key(key)[3] in kinds:
                    keys.append(key)
            flush, passed = name, len(listed)
        return await self._page(keys, f"{flush}.{passed}", more=more)

    async def _page(self, keys: Sequence[Key], cursor: str, *, more: bool) -> LogPage:
        found = await self._events.at(keys)
        return LogPage([found[key] for key in keys if key in found], cursor, more)

    async def _pages(
        self, server: Server, first: str, now: datetime
    ) -> AsyncIterator[tuple[str, Sequence[Key] | None]]:
        """Yield flushes with the events they list; None for events: nothing can be read beyond, for now.

        The end of each day is yielded like a flush without events.
        """
        end = now - READ_AFTER
        for _ in range(MAX_DAYS):
            day = flushed_at(first).replace(hour=0, minute=0, second=0, microsecond=0)
            below = _beginning(min(end, day + _DAY))
            async for key, page in self._pages_of_day(server, day, first, below):
                yield key.sort, await self._listed(key, page, now)
            first = max(first, below)
            yield first, ()
            if end <= day + _DAY:
                yield first, None

    async def _pages_of_day(
        self, server: Server, day: datetime, first: str, below: str
    ) -> AsyncIterator[tuple[Key, Item]]:
        """Yield pages of all shards of the day, in order."""
        counts = [each.count for each in server.shards if day <= each.since < day + _DAY]
        shards = min(max(shards_at(server.shards, day), *counts, 1), MAX_LOG_SHARDS)
        partitions = [log_partition(server.id, day, shard) for shard in range(shards)]
        while True:
            pages, complete = await first_of(
                self._records, partitions, at_least=first, below=below, limit=_PAGES_AT_ONCE
            )
            for key, page in pages:
                yield key, page
            if complete:
                return
            # All names have one length: this is right after the last one.
            first = pages[-1][0].sort + "0"

    async def _listed(self, key: Key, page: Item, now: datetime) -> Sequence[Key] | None:
        """Return the events of a page; None if it is open and must be waited for."""
        if page.get("open"):
            if now - flushed_at(key.sort) < WAITED_FOR:
                return None
            if not await make_dead(self._records, key):
                page = await self._records.get(key) or {}
        return listed_keys(page)


def _beginning(moment: datetime) -> str:
    """Return what the names of the moment's flushes begin with."""
    return f"{max(0, to_ms(moment)):013d}"


def _parsed(cursor: str) -> tuple[str, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidValue("this is not a cursor of the event log")
    return found[1], int(found[2])
