"""``/api/v2/events``: the event log of a server, in the order of recording, from any point on."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from functions.api.schemas.events import EventEnvelope, EventPage
from functions.api.services import Services
from functions.api.v2_door import server_key, tenant_of, told
from shared.domain.edgepost_payload import envelope_of
from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind
from shared.domain.event_names import kind_named
from shared.domain.event_schemas import event_schemas
from shared.flow.hand_on import HandingOn, notices_of
from shared.store.endpoints import Endpoints
from shared.store.event_log import MAX_READ, EventLog, cursor_at
from shared.store.published_keys import published_keys

FIRST_READ = timedelta(days=1)
"""Where a reader begins who gives neither a cursor nor a moment."""

_CURSOR = Query(description="Of the page before; the next one begins right after it.", max_length=100)
_SINCE = Query(description="Begin with what was recorded at this moment (RFC 3339) instead of a cursor.")
_EVENT = Query(description="Only events of these names, separated by commas.", max_length=2000)
_LIMIT = Query(description="Events at most.", ge=1, le=MAX_READ)


def events_router(services: Services) -> APIRouter:
    """Return the routes; they keep nothing between requests."""
    router = APIRouter(tags=["Events"])
    records = services.stores.records
    event_log = EventLog(records, kept=services.settings.event_retention)
    using = HandingOn(Endpoints(records), services.directory, services.messages, services.stores.webhooks)

    @router.get("/api/v2/events", summary="Read what happened, in the order of recording")
    async def read(
        key: Annotated[str, Depends(server_key)],
        cursor: Annotated[str, _CURSOR] = "",
        since: Annotated[datetime | None, _SINCE] = None,
        event: Annotated[str, _EVENT] = "",
        limit: Annotated[int, _LIMIT] = 100,
    ) -> EventPage:
        """Return events of the server, oldest first, none younger than five seconds.

        A cursor never skips an event.  Keep the page's cursor and ask again with it;
        `more` says whether there is something to read at once.
        """
        with told():
            tenant = await tenant_of(key, services)
            now = services.clock()
            begin = cursor or cursor_at(_utc(since) if since else now - FIRST_READ)
            page = await event_log.read(tenant.server, begin, kinds=_kinds(event), limit=limit, now=now)
            notices = await notices_of(tenant.server.id, page.events, using)
        return EventPage(
            events=[EventEnvelope(**envelope_of(each)) for each in notices], cursor=page.cursor, more=page.more
        )

    @router.get("/api/v2/events/schemas", summary="JSON schemas of all events")
    async def schemas() -> Mapping[str, Any]:
        """Return a JSON schema (2020-12) for each event, by its name."""
        return event_schemas()

    @router.get("/.well-known/jwks.json", summary="Public key of Postal's signatures")
    async def keys() -> Mapping[str, object]:
        """Return the key that signs requests in Postal's dialect (RFC 7517); none before the first such endpoint."""
        with told():
            return await published_keys(records)

    return router


def _kinds(names: str) -> frozenset[EventKind]:
    return frozenset(kind_named(each) for each in names.split(",") if each.strip())


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidValue("`since` must say its time zone, such as 2026-03-01T12:00:00Z")
    return moment.astimezone(UTC)
