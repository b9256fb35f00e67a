"""Flushes: events are stored, listed in the log and counted exactly once, without doubled writes.

Each event is one plain write, put if absent, that names its *flush*.  A flush is
one page of the log with the events of one server and one hour, and one addition
to that hour's counters.

==========  ====================================  ===============================
page        meaning                               who may change it, to what
==========  ====================================  ===============================
open        its events are being stored           its flush, to done; anybody who
                                                  finds it old, to dead
done        its events are listed and counted     nobody
dead        it counts nothing, for ever           nobody
==========  ====================================  ===============================

1. ``open``: the empty page is put.  It must be there within ``OPENED_WITHIN`` of the
   recording time in its name, else another is taken: readers of the log look only
   at what is older than ``READ_AFTER``, so none can have passed it by.
2. ``reserve``: each event is put if absent.  One that is there already belongs to
   another flush: if that is done, the event is no news; if its page is dead, or can
   be made dead, the event is taken over by a conditional update; if it is
   open and young, somebody is at work on it, and the event comes again.
3. The caller hands the new events on (webhooks): at least once.
4. ``commit``: one atomic write makes the page done, if it is open, and adds to the counters.

A crash anywhere leaves an open page, and what comes again takes its events over.
An event belongs to one flush at a time, and leaves it only when that can no longer
be done: so it is in one done page exactly.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from shared.domain.engagement import counted_as
from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event
from shared.domain.ids import ServerId
from shared.domain.moments import to_ms
from shared.domain.tenancy import Shards, shards_at
from shared.ports import Absent, Clock, Delete, Equals, Item, Key, Put, Records, Update, Value
from shared.store.events import event_item
from shared.store.keys import COUNTER_SHARDS, MAX_LOG_SHARDS, counters_key, event_key, flush_name, flushed_at, log_key

MAX_EVENTS = 100
"""Events of one flush: its page is some 4 KB."""

OPENED_WITHIN = timedelta(seconds=3)
READ_AFTER = timedelta(seconds=5)
"""Between the two, clocks of two machines may differ by two seconds."""

LEFT_ALONE = timedelta(seconds=10)
"""A flush is given so long to be done before its events are taken over."""

COUNTERS_KEPT = timedelta(days=400)
PAGES_OUTLIVE = timedelta(days=1)
"""A page is kept for longer than its events: a repeated event must find what became of it."""

MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Flush:
    """An open page of the log."""

    name: str
    server_id: ServerId
    shards: Sequence[Shards]
    """The server's."""

    @property
    def page(self) -> Key:
        """Where its page lies."""
        return log_key(self.server_id, self.name)


@dataclass(frozen=True, slots=True)
class Reserved:
    """What of a batch belongs to a flush."""

    new: Mapping[Key, Event]
    busy: Sequence[Event]
    """Another flush is at work on these: they must come again."""


class Flushes:
    """Writes events.

    Args:
        records: where they lie.
        clock: gives the recording time.
        rng: tells flushes of one moment apart.
        kept: how long events and pages are kept.
    """

    def __init__(self, records: Records, *, clock: Clock, rng: random.Random, kept: timedelta) -> None:
        self._records = records
        self._clock = clock
        self._rng = rng
        self._kept = kept

    async def open(self, server_id: ServerId, shards: Sequence[Shards]) -> Flush:
        """Begin a flush.

        Raises:
            StorageUnavailable: no page could be put in time.
        """
        for _ in range(MAX_TRIES):
            recorded_at = self._clock()
            shard = self._rng.randrange(min(shards_at(shards, recorded_at), MAX_LOG_SHARDS))
            flush = Flush(flush_name(to_ms(recorded_at), shard, self._rng.getrandbits(64)), server_id, shards)
            expires_at = recorded_at + self._kept + PAGES_OUTLIVE
            # False: a write whose reply was lost was tried again below us.  Nobody else has this name.
            await self._records.put(Put(flush.page, {"open": True}, expires_at, when=(Absent(),)))
            if timedelta(0) <= self._clock() - recorded_at <= OPENED_WITHIN:
                return flush
            await self.give_up(flush)
        raise StorageUnavailable("no page of the event log could be opened in time")

    async def reserve(self, flush: Flush, events: Sequence[Event]) -> Reserved:
        """Store events that are new, and take over what no other flush can count any more.

        Args:
            flush: as ``open`` returned it.
            events: at most ``MAX_EVENTS`` of one hour of the flush's server.

        Raises:
            StorageUnavailable: some may be stored; the next flush takes them over.
        """
        by_key = {event_key(event, flush.shards): event for event in events}
        expires_at = flushed_at(flush.name) + self._kept
        puts = [Put(key, event_item(event, flush.name), expires_at, when=(Absent(),)) for key, event in by_key.items()]
        stored = await asyncio.gather(*(self._records.put(put) for put in puts))
        new = [key for key, was_absent in zip(by_key, stored, strict=True) if was_absent]
        known = [key for key, was_absent in zip(by_key, stored, strict=True) if not was_absent]
        busy: Sequence[Key] = ()
        if known:
            taken, busy = await self._take_over(flush, known)
            new += taken
        return Reserved({key: by_key[key] for key in new}, [by_key[key] for key in busy])

    async def commit(self, flush: Flush, new: Mapping[Key, Event]) -> bool:
        """List and count what was reserved, all at once; False if the flush was taken over meanwhile.

        Args:
            flush: as ``open`` returned it.
            new: as ``reserve`` returned it; one hour's, not empty.
        """
        count = self._count(flush.server_id, flush.shards, list(new.values()))
        page = Update(flush.page, set={"open": False, "rows": _listed(new)}, when=(Equals("open", value=True),))
        # A write whose reply was lost may be tried again below us, and then finds its own work.
        return await self._records.atomically([page, count]) or _is_done(await self._records.get(flush.page))

    async def only_count(self, server_id: ServerId, shards: Sequence[Shards], events: Sequence[Event]) -> None:
        """Count events of one hour that the log has no room for.  Twice: counted twice."""
        await self._records.update(self._count(server_id, shards, events))

    def _count(self, server_id: ServerId, shards: Sequence[Shards], events: Sequence[Event]) -> Update:
        """Return the addition to the counters of the events' hour."""
        hour = events[0].at.replace(minute=0, second=0, microsecond=0)
        numbers: Counter[str] = Counter()
        for event in events:
            numbers.update(counted_as(event))
        shard = self._rng.randrange(max(COUNTER_SHARDS, shards_at(shards, hour)))
        return Update(counters_key(server_id, hour, shard), add=numbers, expires_at=hour + COUNTERS_KEPT)

    async def give_up(self, flush: Flush) -> None:
        """Remove the page of a flush that no event belongs to."""
        await self._records.delete(Delete(flush.page, when=(Equals("open", value=True),)))

    async def _take_over(self, flush: Flush, keys: Sequence[Key]) -> tuple[Sequence[Key], Sequence[Key]]:
        """Return the events that belong to the flush from now on, and those that another is at work on."""
        found = await self._records.get_many(keys)
        by_owner: defaultdict[str, list[Key]] = defaultdict(list)
        for key in found:
            by_owner[str(found[key]["flush"])].append(key)
        # Put by a write of ours whose reply was lost.
        taken = by_owner.pop(flush.name, [])
        # Expired between two looks: the next one will tell.
        busy = [key for key in keys if key not in found]
        for owner, theirs in by_owner.items():
            page = log_key(flush.server_id, owner)
            state = await self._records.get(page)
            if state is None or _is_done(state):
                continue
            if state["open"] and not await self._make_dead(page):
                busy += theirs
                continue
            moves = [self._move(key, owner, flush) for key in theirs]
            for key, moved in zip(theirs, await asyncio.gather(*moves), strict=True):
                (taken if moved else busy).append(key)
        return taken, busy

    async def _make_dead(self, page: Key) -> bool:
        if self._clock() - flushed_at(page.sort) < LEFT_ALONE:
            return False
        return await make_dead(self._records, page)

    async def _move(self, key: Key, owner: str, flush: Flush) -> bool:
        expires_at = flushed_at(flush.name) + self._kept
        when = (Equals("flush", owner),)
        return (
            await self._records.update(Update(key, {"flush": flush.name}, expires_at=expires_at, when=when)) is not None
        )


async def make_dead(records: Records, page: Key) -> bool:
    """Prevent that an open page is ever done; False if it is no longer open."""
    dead: Item = {"open": False}
    return await records.update(Update(page, set=dead, when=(Equals("open", value=True),))) is not None


def _is_done(page: Item | None) -> bool:
    return page is not None and "rows" in page


def _listed(new: Mapping[Key, Event]) -> Value:
    """Return the keys of events by partition, as a page holds them."""
    listed: defaultdict[str, list[Value]] = defaultdict(list)
    for key in sorted(new):
        listed[key.partition].append(key.sort)
    return cast("Value", dict(listed))


def listed_keys(page: Item) -> Sequence[Key]:
    """Return the keys of the events on a page, in the page's order; none if it is not done."""
    rows = cast("dict[str, list[str]]", page.get("rows", {}))
    return [Key(partition, sort) for partition in sorted(rows) for sort in rows[partition]]
