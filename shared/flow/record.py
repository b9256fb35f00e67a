"""Record: the one consumer of the events queue keeps the log and the counters.

Events come late and repeated.  Storing the event's row, if it is absent,
decides whether it is new; only new ones are counted.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from shared.domain.event import Event, EventKind
from shared.domain.ids import ServerId
from shared.store.events import Events


async def record(batch: Sequence[Event], *, events: Events) -> Sequence[Event]:
    """Store events and count the new ones; return those that were new.

    Twice: nothing more.

    Raises:
        StorageUnavailable: some may be stored; the batch may be repeated.
    """
    added = await asyncio.gather(*(events.add(event) for event in batch))
    new = [event for event, is_new in zip(batch, added, strict=True) if is_new]
    sums: defaultdict[tuple[ServerId, datetime], Counter[EventKind]] = defaultdict(Counter)
    for event in new:
        sums[event.server_id, event.at.replace(minute=0, second=0, microsecond=0)][event.kind] += 1
    await asyncio.gather(*(events.count(server_id, hour, kinds) for (server_id, hour), kinds in sums.items()))
    return new
