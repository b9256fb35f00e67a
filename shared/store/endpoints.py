"""Webhook endpoints in the records: each among the things of its server."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.endpoint import Endpoint
from shared.domain.event import EventKind
from shared.domain.event_names import Dialect
from shared.domain.ids import EndpointId, ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.ports import Absent, Delete, Equals, Exists, Item, Put, Records, Update
from shared.store.items import flag, moment, moment_or_none, number, rows, text
from shared.store.keys import endpoint_key, server_key

_LISTED = "endpoint#"
_LISTED_END = "endpoint$"
"""The text right after everything that starts with ``endpoint#``."""


class Endpoints:
    """Reads and writes webhook endpoints."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, endpoint: Endpoint) -> bool:
        """Store a new endpoint; False if its id is taken or its server is gone."""
        key = endpoint_key(endpoint.server_id, endpoint.id)
        owner = Update(server_key(endpoint.server_id), set={"id": endpoint.server_id}, when=[Exists()])
        return await self._records.atomically([Put(key, _to_item(endpoint), when=[Absent()]), owner])

    async def get(self, server_id: ServerId, endpoint_id: EndpointId) -> Endpoint | None:
        """Return an endpoint of that server, or None."""
        item = await self._records.get(endpoint_key(server_id, endpoint_id))
        return None if item is None else _from_item(item)

    async def of(self, server_id: ServerId) -> Sequence[Endpoint]:
        """Return all endpoints of a server, by id; there are ``MAX_ENDPOINTS`` at most."""
        partition = endpoint_key(server_id, 0).partition
        page = await self._records.query(partition, at_least=_LISTED, below=_LISTED_END)
        return [_from_item(item) for _, item in page.items]

    async def change(self, endpoint: Endpoint) -> Endpoint | None:
        """Store what a person may change, as the endpoint now has it, and return it; None if it is gone."""
        wanted = _to_item(endpoint)
        names = ("url", "kinds", "enabled", "headers", "header_names", "secret", "previous", "previous_until")
        changes: Item = {name: wanted[name] for name in names}
        if endpoint.enabled:
            # Whoever enables it starts anew: the failures of before no longer count.
            changes |= {"failing_since": 0, "paused_until": 0, "pauses": 0, "reason": ""}
        item = await self._records.update(
            Update(endpoint_key(endpoint.server_id, endpoint.id), set=changes, when=[Exists()])
        )
        return None if item is None else _from_item(item)

    async def note_failing(
        self, endpoint: Endpoint, *, since: datetime, paused_until: datetime | None, pauses: int
    ) -> None:
        """Note since when it fails, and until when nothing is tried."""
        await self._set(
            endpoint,
            {"failing_since": to_ms(since), "paused_until": to_ms_or_zero(paused_until), "pauses": pauses},
        )

    async def note_working(self, endpoint: Endpoint) -> None:
        """Note that it works again.  Twice: nothing more."""
        await self._set(endpoint, {"failing_since": 0, "paused_until": 0, "pauses": 0})

    async def disable(self, endpoint: Endpoint, reason: str) -> bool:
        """Disable it; False if it was not enabled: of two that do it at once, one is told True."""
        update = Update(
            endpoint_key(endpoint.server_id, endpoint.id),
            set={"enabled": False, "reason": reason},
            when=[Equals("enabled", value=True)],
        )
        return await self._records.update(update) is not None

    async def remove(self, server_id: ServerId, endpoint_id: EndpointId) -> None:
        """Remove it; what is noted of its parcels expires by itself.  Twice: nothing more."""
        await self._records.delete(Delete(endpoint_key(server_id, endpoint_id)))

    async def _set(self, endpoint: Endpoint, changes: Item) -> None:
        key = endpoint_key(endpoint.server_id, endpoint.id)
        await self._records.update(Update(key, set=changes, when=[Exists()]))


def _to_item(endpoint: Endpoint) -> Item:
    return {
        "id": endpoint.id,
        "server": endpoint.server_id,
        "url": endpoint.url,
        "dialect": endpoint.dialect.value,
        "kinds": [*sorted(kind.value for kind in endpoint.kinds)],
        "enabled": endpoint.enabled,
        "created_at": to_ms(endpoint.created_at),
        "secret": endpoint.secret,
        "previous": endpoint.previous_secret,
        "previous_until": to_ms_or_zero(endpoint.previous_until),
        "headers": endpoint.headers,
        "header_names": [*endpoint.header_names],
        "failing_since": to_ms_or_zero(endpoint.failing_since),
        "paused_until": to_ms_or_zero(endpoint.paused_until),
        "pauses": endpoint.pauses,
        "reason": endpoint.disabled_reason,
    }


def _from_item(item: Item) -> Endpoint:
    return Endpoint(
        id=EndpointId(number(item, "id")),
        server_id=ServerId(number(item, "server")),
        url=text(item, "url"),
        dialect=Dialect(text(item, "dialect")),
        kinds=frozenset(EventKind(str(each)) for each in rows(item, "kinds")),
        enabled=flag(item, "enabled"),
        created_at=moment(item, "created_at"),
        secret=text(item, "secret"),
        previous_secret=text(item, "previous"),
        previous_until=moment_or_none(item, "previous_until"),
        headers=text(item, "headers"),
        header_names=[str(each) for each in rows(item, "header_names")],
        failing_since=moment_or_none(item, "failing_since"),
        paused_until=moment_or_none(item, "paused_until"),
        pauses=number(item, "pauses"),
        disabled_reason=text(item, "reason"),
    )
