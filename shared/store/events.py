"""The event log and the counters made from it."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.domain.event import Event, EventKind
from shared.domain.ids import ServerId
from shared.domain.moments import to_ms
from shared.ports import Absent, Put, Records, Update
from shared.store.keys import counters_key, event_key

KEPT = timedelta(days=45)
COUNTERS_KEPT = timedelta(days=400)


class Events:
    """What happened to the messages of all servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, event: Event) -> bool:
        """Store the event; False if it is known already."""
        item = {
            "id": str(event.id),
            "kind": event.kind.value,
            "at": to_ms(event.at),
            "details": event.details,
            "output": event.output,
        }
        key = event_key(event.server_id, event.message_id, event.attempt, event.kind.value)
        return await self._records.put(Put(key, {**item}, event.at + KEPT, when=(Absent(),)))

    async def count(self, server_id: ServerId, hour: datetime, kinds: Mapping[EventKind, int]) -> None:
        """Add to the counters of the hour that holds the moment.  Twice: adds twice."""
        await self._records.update(
            Update(
                counters_key(server_id, hour),
                add={kind.value: number for kind, number in kinds.items()},
                expires_at=hour + COUNTERS_KEPT,
            )
        )

    async def counted(self, server_id: ServerId, day: datetime) -> Counter[str]:
        """Return the sums of one UTC day by kind."""
        sums: Counter[str] = Counter()
        page = await self._records.query(counters_key(server_id, day).partition)
        for _, item in page.items:
            sums.update({kind: number for kind, number in item.items() if isinstance(number, int)})
        return sums
