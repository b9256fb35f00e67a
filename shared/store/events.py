"""The event log and the counters made from it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event
from shared.domain.ids import ServerId
from shared.domain.moments import to_ms
from shared.ports import MAX_GROUP_WRITES, Absent, Item, Key, Put, Records, Update
from shared.store.keys import counters_key, event_key

KEPT = timedelta(days=45)
COUNTERS_KEPT = timedelta(days=400)
MAX_TRIES = 5

T = TypeVar("T")


class Events:
    """What happened to the messages of all servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, batch: Sequence[Event]) -> Sequence[Event]:
        """Store events and count those that are new; return them.

        The rows of some events and the counters of their hour are one write, so no
        crash comes between an event and its count.  Twice: nothing more.

        Raises:
            StorageUnavailable: some may be stored, and those are counted.
        """
        by_counters: defaultdict[Key, dict[Key, Event]] = defaultdict(dict)
        for event in batch:
            by_counters[counters_key(event.server_id, event.at)][event_key(event)] = event
        added: list[Event] = []
        for counters, events in by_counters.items():
            for some in _in_groups(events.items(), MAX_GROUP_WRITES - 1):
                added += await self._add_some(counters, dict(some))
        return added

    async def _add_some(self, counters: Key, events: Mapping[Key, Event]) -> Sequence[Event]:
        """Store and count events of one hour; of those that are known already nothing is written."""
        for _ in range(MAX_TRIES):
            if not events:
                return ()
            puts = [Put(key, _item(event), event.at + KEPT, when=(Absent(),)) for key, event in events.items()]
            kinds = Counter(event.kind.value for event in events.values())
            hour = next(iter(events.values())).at.replace(minute=0, second=0, microsecond=0)
            count = Update(counters, add=kinds, expires_at=hour + COUNTERS_KEPT)
            if await self._records.atomically([*puts, count]):
                return list(events.values())
            known = await self._records.get_many(list(events))
            events = {key: event for key, event in events.items() if key not in known}
        raise StorageUnavailable("other consumers were storing the same events")

    async def counted(self, server_id: ServerId, day: datetime) -> Counter[str]:
        """Return the sums of one UTC day by kind."""
        sums: Counter[str] = Counter()
        page = await self._records.query(counters_key(server_id, day).partition)
        for _, item in page.items:
            sums.update({kind: number for kind, number in item.items() if isinstance(number, int)})
        return sums


def _item(event: Event) -> Item:
    item: Item = {
        "id": str(event.id),
        "kind": event.kind.value,
        "at": to_ms(event.at),
        "details": event.details,
        "output": event.output,
    }
    if event.subject:
        item["subject"] = event.subject
    if event.data:
        item["data"] = dict(event.data)
    return item


def _in_groups(things: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield the things in lists of at most so many (``itertools.batched`` of Python 3.12)."""
    left = iter(things)
    while some := list(islice(left, most)):
        yield some
