"""Hand on: from recorded events to parcels on the webhooks queue.

Events that nobody subscribed to cost one query for each server of a batch; the
others one read of each message, however many endpoints are told of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.endpoint import Endpoint
from shared.domain.event import Event
from shared.domain.ids import MessageId, ServerId
from shared.domain.notice import Notice, message_facts, server_facts
from shared.domain.parcel import Parcel, pack
from shared.domain.tenancy import Server
from shared.ports import Outgoing, Queue
from shared.store.directory import Directory
from shared.store.endpoints import Endpoints
from shared.store.messages import Messages


@dataclass(frozen=True, slots=True)
class HandingOn:
    """What handing on needs."""

    endpoints: Endpoints
    directory: Directory
    messages: Messages
    webhooks: Queue


async def hand_on(events: Sequence[Event], *, using: HandingOn) -> None:
    """Put what the endpoints want to know on the webhooks queue.

    Twice with the same events: the same parcels, which are delivered once.  Twice in
    other batches: an endpoint may get an event twice, with the same id.

    Raises:
        StorageUnavailable: some may be on the queue.
    """
    by_server: defaultdict[ServerId, list[Event]] = defaultdict(list)
    for event in events:
        by_server[event.server_id].append(event)
    for server_id, some in by_server.items():
        endpoints = [each for each in await using.endpoints.of(server_id) if each.enabled]
        if any(endpoint.wants(event.kind) for endpoint in endpoints for event in some):
            await _tell(server_id, endpoints, some, using)


async def send_parcels(parcels: Iterable[Parcel], queue: Queue) -> None:
    """Put parcels on the queue, in turns between endpoints."""
    await queue.send([Outgoing(each.to_json(), group=group_of(each)) for each in parcels])


def group_of(parcel: Parcel) -> str:
    """Return the fairness group: an endpoint with a long line must not keep others waiting."""
    return f"{parcel.server_id}.{parcel.endpoint_id}"


async def _tell(server_id: ServerId, endpoints: Sequence[Endpoint], events: Sequence[Event], using: HandingOn) -> None:
    wanted = [event for event in events if any(endpoint.wants(event.kind) for endpoint in endpoints)]
    notices = [notice.prepared() for notice in await notices_of(server_id, wanted, using)]
    parcels: list[Parcel] = []
    for endpoint in endpoints:
        own = [notice for notice in notices if endpoint.wants(notice.event.kind)]
        parcels += pack(own, endpoint.id)
    await send_parcels(parcels, using.webhooks)


async def notices_of(server_id: ServerId, events: Sequence[Event], using: HandingOn) -> Sequence[Notice]:
    """Return events of one server with what must be known of their messages; none if the server is gone."""
    tenant = await using.directory.tenant(server_id)
    if tenant is None:
        return ()
    ids = sorted({event.message_id for event in events if event.message_id})
    found = await asyncio.gather(*(_facts(tenant.server, each, using) for each in ids))
    facts = dict(zip(ids, found, strict=True))
    server = server_facts(tenant)
    return [Notice(event, facts.get(event.message_id), None if _is_of_message(event) else server) for event in events]


async def _facts(server: Server, message_id: MessageId, using: HandingOn) -> Mapping[str, Any] | None:
    message = await using.messages.get(server, message_id)
    return None if message is None else message_facts(message)


def _is_of_message(event: Event) -> bool:
    return bool(event.message_id) and not event.kind.value.startswith("suppression")
