"""Record: the one consumer of the events queue keeps the log and the counters.

Events come late, repeated and in any order.  Hits that the log has no room for are
only counted.  Then, for each server and hour of a batch:

1. a flush is opened, and the events that are new are reserved by it;
2. all new events of the batch are handed on, once more if this stage has to be repeated;
3. each flush is committed: its events are listed and counted, in one write.

``shared.store.event_flushes`` says why a crash anywhere loses and doubles nothing.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeAlias
from uuid import UUID

from shared.domain.errors import Unavailable
from shared.domain.event import Event
from shared.domain.ids import ServerId
from shared.flow.cap_hits import cap_hits
from shared.ports import Key
from shared.store.busy_servers import BusyServers
from shared.store.directory import Directory
from shared.store.event_flushes import MAX_EVENTS, Flush, Flushes
from shared.store.events import Events
from shared.store.keys import flushed_at

log = logging.getLogger(__name__)

COMMIT_PAUSES_S = (0.02, 0.1)

OPENED_AT_ONCE = 16
"""Calls that wait for each other in a small process must not make a page late."""

BUSY_FROM = 10
"""Events of one server in one batch from which it counts as busy; a hundred of all servers are a usual batch."""

HandOn: TypeAlias = Callable[[Sequence[Event]], Awaitable[None]]
"""Takes new events before they are committed; may get them again; raises ``Unavailable`` if it cannot."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What recording needs."""

    flushes: Flushes
    events: Events
    directory: Directory
    busy: BusyServers | None = None
    """Notes servers that may need more shards; None where partitions have no limit."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch."""

    new: Sequence[Event]
    """Listed and counted now, for the first time."""

    failed: frozenset[UUID]
    """Ids of the events that must come again."""


async def record(batch: Sequence[Event], *, using: Recording, hand_on: HandOn | None = None) -> Recorded:
    """Store, hand on, list and count the events that are new.  Twice: nothing more.

    Args:
        batch: any number of events of any servers.
        using: what recording needs.
        hand_on: gets the new events, if there are any; None: nobody wants them.
    """
    try:
        batch = await cap_hits(batch, events=using.events, directory=using.directory, flushes=using.flushes)
    except Unavailable:
        log.warning("hits_not_capped", exc_info=True)
        return Recorded((), frozenset(event.id for event in batch))
    groups = list(_groups(batch))
    # All are opened before anything else is put: a page must be there soon after its moment.
    few = asyncio.Semaphore(OPENED_AT_ONCE)
    opened = await asyncio.gather(*(_open(group[0].server_id, using, few) for group in groups))
    reserving = [_reserve(flush, group, using) for flush, group in zip(opened, groups, strict=True)]
    reserved = await asyncio.gather(*reserving)
    failed = {event.id for each in reserved for event in each.failed}
    begun = [each for each in reserved if each.new]
    if hand_on is not None and begun:
        try:
            await hand_on([event for each in begun for event in each.new.values()])
        except Unavailable:
            log.warning("events_not_handed_on", exc_info=True)
            return Recorded((), frozenset(failed | {event.id for each in begun for event in each.new.values()}))
    done = await asyncio.gather(*(_commit(each, using) for each in begun))
    new: list[Event] = []
    for each, committed in zip(begun, done, strict=True):
        if committed:
            new += each.new.values()
            await _note(each, using)
        else:
            failed |= {event.id for event in each.new.values()}
    return Recorded(new, frozenset(failed))


async def _note(begun: "_Begun", using: Recording) -> None:
    """Note a server that sends so much that its events come many together."""
    if using.busy is None or len(begun.new) < BUSY_FROM or begun.flush is None:
        return
    try:
        await using.busy.note(begun.flush.server_id, flushed_at(begun.flush.name))
    except Unavailable:
        log.warning("busy_server_not_noted", exc_info=True, extra={"server_id": begun.flush.server_id})


def _groups(batch: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Yield the events of one server and hour together, as many as a flush takes."""
    by_hour: defaultdict[tuple[ServerId, datetime], dict[tuple[object, ...], Event]] = defaultdict(dict)
    for event in batch:
        name = (event.message_id, event.attempt, event.kind, event.subject)
        by_hour[event.server_id, event.at.replace(minute=0, second=0, microsecond=0)][name] = event
    for events in by_hour.values():
        left = iter(events.values())
        while some := list(islice(left, MAX_EVENTS)):
            yield some


@dataclass(frozen=True, slots=True)
class _Begun:
    """A flush with what it has reserved; None if it could not even begin."""

    flush: Flush | None
    new: Mapping[Key, Event]
    failed: Sequence[Event]


async def _open(server_id: ServerId, using: Recording, few: asyncio.Semaphore) -> Flush | None:
    """Open a flush of the server; None if that cannot be done now."""
    async with few:
        try:
            server = await using.directory.server(server_id)
            # A server that is gone has events still: its deletion was asked for, theirs was not.
            return await using.flushes.open(server_id, server.shards if server else ())
        except Unavailable:
            log.warning("events_not_opened", exc_info=True, extra={"server_id": server_id})
            return None


async def _reserve(flush: Flush | None, events: Sequence[Event], using: Recording) -> _Begun:
    if flush is None:
        return _Begun(None, {}, events)
    try:
        reserved = await using.flushes.reserve(flush, events)
        if not reserved.new:
            await using.flushes.give_up(flush)
    except Unavailable:
        log.warning("events_not_reserved", exc_info=True, extra={"server_id": flush.server_id, "events": len(events)})
        return _Begun(None, {}, events)
    return _Begun(flush, reserved.new, reserved.busy)


async def _commit(begun: _Begun, using: Recording) -> bool:
    """Commit a flush; transactions that met on a counter are tried again at once."""
    if begun.flush is None:
        return False
    for pause in (*COMMIT_PAUSES_S, None):
        try:
            committed = await using.flushes.commit(begun.flush, begun.new)
        except Unavailable:
            if pause is None:
                log.warning("events_not_counted", exc_info=True, extra={"server_id": begun.flush.server_id})
                return False
            await asyncio.sleep(pause)
        else:
            if not committed:
                log.warning("events_taken_over", extra={"server_id": begun.flush.server_id, "events": len(begun.new)})
            return committed
    raise AssertionError("the last try returns")
