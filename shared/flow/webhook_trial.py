"""The test button: one made-up event, sent now, whatever the endpoint is subscribed to."""

from datetime import datetime

from shared.domain.endpoint import Endpoint
from shared.domain.errors import InvalidValue, NotFound
from shared.domain.event import EventKind
from shared.domain.event_names import kind_named
from shared.domain.sample_event import sample_notice
from shared.domain.tenancy import Server, Tenant
from shared.flow.webhook_request import Requests
from shared.network import HTTPAnswer
from shared.ports import Records
from shared.store.organizations import Organizations


async def try_endpoint(
    endpoint: Endpoint, server: Server, *, event: str, requests: Requests, records: Records, now: datetime
) -> HTTPAnswer:
    """Send a made-up event once and return the answer; nothing is retried or noted.

    Args:
        endpoint: where to.
        server: whose it is.
        event: name in either dialect; empty: that a message was delivered.
        requests: signs and sends.
        records: know the organization.
        now: the event's moment.

    Raises:
        InvalidValue: there is no such event, or not in the endpoint's dialect.
        NotFound: the organization is gone.
    """
    kind = kind_named(event) if event else EventKind.DELIVERED
    organization = await Organizations(records).get(server.organization_id)
    if organization is None:
        raise NotFound(f"the organization of {server.permalink} was deleted just now")
    made = await requests.make(sample_notice(kind, Tenant(server, organization), now), endpoint, now=now)
    if made is None:
        raise InvalidValue(f"the dialect {endpoint.dialect.value} has no such event")
    return await requests.send(made)
