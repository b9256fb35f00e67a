"""Record: the one consumer of the events queue keeps the log and the counters.

Events come late and repeated.  Storing the event's row, if it is absent,
decides whether it is new; only new ones are counted, in the same write.
"""

from collections.abc import Sequence

from shared.domain.event import Event
from shared.store.events import Events


async def record(batch: Sequence[Event], *, events: Events) -> Sequence[Event]:
    """Store events and count the new ones; return those that were new.

    Twice: nothing more.

    Raises:
        StorageUnavailable: some may be stored and counted; the batch may be repeated.
    """
    return await events.add(batch)
