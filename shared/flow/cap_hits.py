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
    servers = {server_id: await directory.server(server_id) for server_id in {each[0] for each in by_message}}
    hit = [(server, hits) for (server_id, _, _), hits in by_message.items() if (server := servers[server_id])]
    found = await asyncio.gather(*(_excess(server, hits, events) for server, hits in hit))
    counting: list[Event] = []
    for (server, _), excess in zip(hit, found, strict=True):
        counting += excess
        by_hour: defaultdict[datetime, list[Event]] = defaultdict(list)
        for event in excess:
            by_hour[event.at.replace(minute=0, second=0, microsecond=0)].append(event)
        for some in by_hour.values():
            await flushes.only_count(server.id, server.shards, some)
    gone = {event.id for event in counting}
    return [event for event in batch if event.id not in gone] if gone else batch


async def _excess(server: Server, hits: Sequence[Event], events: Events) -> Sequence[Event]:
    """Return those of one message's hits of one kind that are too many."""
    first = hits[0]
    known = await events.hits(server, first.message_id, first.kind, limit=MOST_EVENTS)
    return only_counted(hits, kept={event.subject for event in known})
