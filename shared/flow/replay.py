"""Replay: send an endpoint once more what the event log has, with the ids of the first time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from shared.domain.endpoint import Endpoint
from shared.domain.event import EventKind
from shared.domain.parcel import pack
from shared.domain.tenancy import Server
from shared.flow.hand_on import HandingOn, notices_of, send_parcels
from shared.store.event_log import MAX_READ, EventLog, cursor_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to send again: everything that was recorded in a time, or some of it."""

    since: datetime
    until: datetime
    kinds: Collection[EventKind] = ()
    """Only these; none: all that the endpoint's dialect has, whatever it subscribes to."""

    event_ids: Collection[str] = ()
    """Only these; none: all."""

    message_id: int = 0
    """Only of this message; 0: of all."""


async def replay(
    wanted: Wanted, *, endpoint: Endpoint, server: Server, log: EventLog, using: HandingOn, now: datetime
) -> int:
    """Put what is wanted on the webhooks queue again; return how many events.

    Twice: sent twice.  A receiver tells by the ids what it has seen before.

    Raises:
        StorageUnavailable: some may be on the queue.
    """
    number = 0
    cursor, more = cursor_at(wanted.since), True
    while more:
        page = await log.read(server, cursor, kinds=wanted.kinds, limit=MAX_READ, now=min(now, wanted.until))
        cursor, more = page.cursor, page.more
        events = [
            event
            for event in page.events
            if (not wanted.event_ids or str(event.id) in wanted.event_ids)
            and (not wanted.message_id or event.message_id == wanted.message_id)
        ]
        notices = await notices_of(server.id, events, using)
        parcels = list(pack(notices, endpoint.id, again_at=now))
        await send_parcels(parcels, using.webhooks)
        number += len(notices)
    return number
