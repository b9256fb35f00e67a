"""Events as items: what happened to the messages of all servers, and how often."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.domain.moments import from_ms, to_ms
from shared.domain.tenancy import Server
from shared.ports import Item, Key, Records
from shared.store.keys import counters_key, events_of_message, hits_of_message, named_by_event_key


def event_item(event: Event, flush: str) -> Item:
    """Return the item of an event; its key says the rest.

    Args:
        event: what happened.
        flush: the flush that counts it and names the page of the log that lists it.
    """
    optional: Item = {"details": event.details, "output": event.output, "data": dict(event.data)}
    return {"at": to_ms(event.at), "flush": flush, **{name: value for name, value in optional.items() if value}}


def event_of_item(key: Key, item: Item) -> Event:
    """Return the event that lies under the key."""
    server_id, message_id, attempt, kind, subject = named_by_event_key(key)
    stored = cast("dict[str, Any]", item)  # written by event_item only
    return Event(
        kind=kind,
        server_id=server_id,
        message_id=message_id,
        attempt=attempt,
        at=from_ms(stored["at"]),
        details=stored.get("details", ""),
        output=stored.get("output", ""),
        subject=subject,
        data=stored.get("data", {}),
    )


class Events:
    """Reads events and their counters; ``shared.store.event_flushes`` writes them."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def of_message(
        self, server: Server, message_id: MessageId, *, limit: int = 100, cursor: str | None = None
    ) -> tuple[Sequence[Event], str | None]:
        """Return some events of a message by attempt and kind, and the cursor of the next ones, None at the end.

        Those that are being recorded just now are among them.
        """
        partition, first, end = events_of_message(server, message_id)
        page = await self._records.query(partition, at_least=first, below=end, limit=limit, cursor=cursor)
        return [event_of_item(key, item) for key, item in page.items], page.cursor

    async def hits(self, server: Server, message_id: MessageId, kind: EventKind, *, limit: int) -> Sequence[Event]:
        """Return the first hits of one kind that the log has of a message, by subject."""
        partition, first, end = hits_of_message(server, message_id, kind)
        page = await self._records.query(partition, at_least=first, below=end, limit=limit)
        return [event_of_item(key, item) for key, item in page.items]

    async def at(self, keys: Sequence[Key]) -> Mapping[Key, Event]:
        """Return the events under these keys, as far as they are still kept."""
        return {key: event_of_item(key, item) for key, item in (await self._records.get_many(keys)).items()}

    async def counted(self, server_id: ServerId, day: datetime, *, hour: int | None = None) -> Counter[str]:
        """Return the sums of one UTC day, or of one hour of it, by kind."""
        partition = counters_key(server_id, day).partition
        first, end = ("", None) if hour is None else (f"{hour:02d}#", f"{hour:02d}$")
        sums: Counter[str] = Counter()
        cursor: str | None = None
        while True:
            page = await self._records.query(partition, at_least=first, below=end, limit=300, cursor=cursor)
            for _, item in page.items:
                sums.update({kind: number for kind, number in item.items() if isinstance(number, int)})
            cursor = page.cursor
            if cursor is None:
                return sums
