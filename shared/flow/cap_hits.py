"""Cap hits: strangers open and click as often as they like, and the log keeps a few of each message.

What is over the cap is counted and forgotten.  A hit that the log has already passes:
recording it again changes nothing.  A batch that comes again after a crash counts its
excess twice: exact figures of a flood are worth no write for each hit of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from shared.domain.engagement import HITS, MOST_EVENTS, only_counted
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.domain.tenancy import Server
from shared.store.directory import Directory
from shared.store.event_flushes import Flushes
from shared.store.events import Events


async def cap_hits(
    batch: Sequence[Event], *, events: Events, directory: Directory, flushes: Flushes
) -> Sequence[Event]:
    """Return the batch without the hits that the log has no room for, which are counted here.

    Costs one read for each message and kind that was hit.

    Raises:
        StorageUnavailable: the batch may be repeated.
    """
    by_message: defaultdict[tuple[ServerId, MessageId, EventKind], list[Event]] = defaultdict(list)
    for event in batch:
        if event.kind in HITS:
            by_message[event.server_id, event.message_id, event.kind].append(event)
    found = await asyncio.gather(*(_excess(hits, events, directory) for hits in by_message.values()))
    counting: list[Event] = []
    for server, excess in found:
        if server is not None and excess:
            counting += excess
            by_hour: defaultdict[datetime, list[Event]] = defaultdict(list)
            for event in excess:
                by_hour[event.at.replace(minute=0, second=0, microsecond=0)].append(event)
            for some in by_hour.values():
                await flushes.only_count(server.id, server.shards, some)
    gone = {event.id for event in counting}
    return [event for event in batch if event.id not in gone] if gone else batch


async def _excess(hits: Sequence[Event], events: Events, directory: Directory) -> tuple[Server | None, Sequence[Event]]:
    """Return the server of one message's hits, and those of them that are too many."""
    first = hits[0]
    server = await directory.server(first.server_id)
    if server is None:
        return None, ()
    known = await events.hits(server, first.message_id, first.kind, limit=MOST_EVENTS)
    return server, only_counted(hits, kept={event.subject for event in known})
