"""Webhook endpoints: made, found, changed, removed, their secrets rotated."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from shared.domain.endpoint import MAX_ENDPOINTS, Endpoint, checked_headers, checked_url, secret_context
from shared.domain.errors import InvalidValue, NotFound, StorageUnavailable
from shared.domain.event import EventKind
from shared.domain.event_names import Dialect, event_name, kind_named
from shared.domain.ids import EndpointId, ServerId, draw_owner_id
from shared.domain.tenancy import Server
from shared.domain.webhook_signature import new_secret
from shared.ports import Keyring, Records
from shared.settings import Network
from shared.store.endpoints import Endpoints

MAX_ID_DRAWS = 5
BOTH_SECRETS = timedelta(hours=24)
"""After a rotation, how long the secret before it signs too."""

DISABLED_BY_HAND = "Disabled by hand."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """What somebody says about the endpoint to make."""

    url: str
    events: Sequence[str] = ()
    """Names of either dialect; none: all that the dialect has."""

    dialect: Dialect = Dialect.EDGEPOST
    headers: Sequence[str] = ()
    """As ``Name: value``."""


@dataclass(frozen=True, slots=True)
class IssuedEndpoint:
    """An endpoint with its secret, which is shown now and stored wrapped."""

    endpoint: Endpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChanges:
    """What to change of an endpoint; None leaves a thing as it is."""

    url: str | None = None
    events: Sequence[str] | None = None
    headers: Sequence[str] | None = None
    enabled: bool | None = None


async def create_endpoint(
    wanted: NewEndpoint,
    *,
    server: Server,
    records: Records,
    keyring: Keyring,
    allowed: Sequence[Network],
    rng: random.Random,
    now: datetime,
) -> IssuedEndpoint:
    """Make an endpoint; it is told of what is recorded from now on.  Twice: two of them.

    Args:
        wanted: what it shall be.
        server: whose events it is told of.
        records: where it will lie.
        keyring: wraps its secret.
        allowed: private networks that HTTP may reach.
        rng: the system's randomness, because the secret is drawn from it.
        now: the present moment.

    Raises:
        InvalidValue: a URL, event or header that cannot be used, or too many endpoints.
        StorageUnavailable: the server is gone.
    """
    url, kinds = checked_url(wanted.url, allowed), _kinds(wanted.events, wanted.dialect)
    headers = checked_headers(wanted.headers)
    store = Endpoints(records)
    if len(await store.of(server.id)) >= MAX_ENDPOINTS:
        raise InvalidValue(f"the server {server.permalink} has {MAX_ENDPOINTS} endpoints, which is the most")
    secret = new_secret(rng)
    for _ in range(MAX_ID_DRAWS):
        endpoint_id = EndpointId(draw_owner_id(rng))
        context = secret_context(endpoint_id)
        endpoint = Endpoint(
            id=endpoint_id,
            server_id=server.id,
            url=url,
            dialect=wanted.dialect,
            kinds=kinds,
            enabled=True,
            created_at=now,
            secret=keyring.wrap(secret.encode(), context=context),
            headers=keyring.wrap(json.dumps(headers).encode(), context=context) if headers else "",
            header_names=sorted(headers),
        )
        if await store.add(endpoint):
            return IssuedEndpoint(endpoint, secret)
    raise StorageUnavailable(f"the server {server.permalink} is gone, or no free id was found")


async def find_endpoint(server: Server, endpoint_id: int, *, records: Records) -> Endpoint:
    """Return an endpoint of that server.

    Raises:
        NotFound: the server has none with that id.
    """
    endpoint = await Endpoints(records).get(server.id, EndpointId(endpoint_id))
    if endpoint is None:
        raise _gone(server, endpoint_id)
    return endpoint


async def list_endpoints(server: Server, *, records: Records) -> Sequence[Endpoint]:
    """Return all endpoints of a server, by id."""
    return await Endpoints(records).of(server.id)


async def update_endpoint(
    server: Server,
    endpoint_id: int,
    changes: EndpointChanges,
    *,
    records: Records,
    keyring: Keyring,
    allowed: Sequence[Network],
) -> Endpoint:
    """Change what is given; enabling forgets the failures of before.

    Raises:
        InvalidValue: a URL, event or header that cannot be used.
        NotFound: the server has no such endpoint.
    """
    endpoint = await find_endpoint(server, endpoint_id, records=records)
    if changes.url is not None:
        endpoint = replace(endpoint, url=checked_url(changes.url, allowed))
    if changes.events is not None:
        endpoint = replace(endpoint, kinds=_kinds(changes.events, endpoint.dialect))
    if changes.headers is not None:
        headers = checked_headers(changes.headers)
        wrapped = keyring.wrap(json.dumps(headers).encode(), context=secret_context(endpoint.id)) if headers else ""
        endpoint = replace(endpoint, headers=wrapped, header_names=sorted(headers))
    store = Endpoints(records)
    if changes.enabled is False and endpoint.enabled:
        await store.disable(endpoint, DISABLED_BY_HAND)
    if changes.enabled is not None:
        endpoint = replace(endpoint, enabled=changes.enabled)
    changed = await store.change(endpoint)
    if changed is None:
        raise _gone(server, endpoint_id)
    return changed


async def rotate_secret(
    server: Server,
    endpoint_id: int,
    *,
    keep: timedelta = BOTH_SECRETS,
    records: Records,
    keyring: Keyring,
    rng: random.Random,
    now: datetime,
) -> IssuedEndpoint:
    """Give the endpoint a new secret; the one before signs too for a while, so that no receiver must hurry.

    Raises:
        NotFound: the server has no such endpoint.
    """
    endpoint = await find_endpoint(server, endpoint_id, records=records)
    secret = new_secret(rng)
    changed = await Endpoints(records).change(
        replace(
            endpoint,
            secret=keyring.wrap(secret.encode(), context=secret_context(endpoint.id)),
            previous_secret=endpoint.secret,
            previous_until=now + keep,
        )
    )
    if changed is None:
        raise _gone(server, endpoint_id)
    return IssuedEndpoint(changed, secret)


async def delete_endpoint(server: Server, endpoint_id: int, *, records: Records) -> None:
    """Remove an endpoint; what waits for it is dropped.

    Raises:
        NotFound: the server has no such endpoint.
    """
    await find_endpoint(server, endpoint_id, records=records)
    await Endpoints(records).remove(server.id, EndpointId(endpoint_id))


async def remove_endpoints(server_id: ServerId, *, records: Records) -> None:
    """Remove all endpoints of a server.  Twice: nothing more."""
    store = Endpoints(records)
    for endpoint in await store.of(server_id):
        await store.remove(server_id, endpoint.id)


def secrets_of(endpoint: Endpoint, keyring: Keyring, now: datetime) -> Sequence[str]:
    """Return the secrets that sign now: the newest first."""
    context = secret_context(endpoint.id)
    wrapped = [endpoint.secret]
    if endpoint.previous_secret and endpoint.previous_until is not None and now < endpoint.previous_until:
        wrapped.append(endpoint.previous_secret)
    return [keyring.unwrap(each, context=context).decode() for each in wrapped]


def headers_of(endpoint: Endpoint, keyring: Keyring) -> dict[str, str]:
    """Return the endpoint's further headers."""
    if not endpoint.headers:
        return {}
    found: Any = json.loads(keyring.unwrap(endpoint.headers, context=secret_context(endpoint.id)))  # ours
    return cast("dict[str, str]", found)


def _kinds(events: Sequence[str], dialect: Dialect) -> frozenset[EventKind]:
    kinds = frozenset(kind_named(each) for each in events if each.strip())
    missing = [kind.value for kind in kinds if event_name(kind, dialect) is None]
    if missing:
        raise InvalidValue(f"the dialect {dialect.value} has no event for {', '.join(sorted(missing))}")
    return kinds


def _gone(server: Server, endpoint_id: int) -> NotFound:
    return NotFound(f"the server {server.permalink} has no webhook endpoint with the id {endpoint_id}")
