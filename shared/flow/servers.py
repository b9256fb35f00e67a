"""Servers: made, changed, suspended, and removed with everything in them."""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import InvalidValue, NameTaken, NotFound, StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId, draw_owner_id
from shared.domain.moments import to_ms
from shared.domain.names import (
    Kind,
    check_name,
    check_permalink,
    check_reason,
    check_typed_name,
    permalinks_for,
)
from shared.domain.suppression import Scope
from shared.domain.tenancy import Mode, Organization, Server, Shards
from shared.domain.thresholds import NONE, OUTBOUND, SPAM, SPAM_FAILURE, OutboundChange, checked_threshold
from shared.flow.credentials import remove_credentials
from shared.flow.domains import remove_domains
from shared.flow.endpoints import remove_endpoints
from shared.flow.routes import remove_routes
from shared.flow.track_domains import remove_track_domains
from shared.ports import Outgoing, Queue, Records
from shared.store.organizations import Organizations
from shared.store.servers import Servers
from shared.store.suppressions import Suppressions
from shared.store.suspended import Suspended

MAX_ID_DRAWS = 5
TOKEN_LENGTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServer:
    """What somebody says about the server to make."""

    name: str
    permalink: str = ""
    """Empty: the first free one for the name."""

    mode: Mode = Mode.LIVE
    ip_pool: str = "default"


async def create_server(
    wanted: NewServer, *, organization: Organization, records: Records, rng: random.Random, now: datetime
) -> Server:
    """Make a server.  Twice: two servers, unless the permalink was given.

    Raises:
        InvalidValue: a name, permalink or pool that cannot be used.
        NameTaken: the given permalink is in use; it is unique in the whole installation.
        NotFound: the organization was removed meanwhile.
    """
    name = check_name(wanted.name)
    pool = check_pool(wanted.ip_pool)

    async def add(permalink: str) -> Server | None:
        for _ in range(MAX_ID_DRAWS):
            server = new_server(name, permalink, wanted.mode, pool, organization=organization, rng=rng, now=now)
            if await Servers(records).add(server):
                return server
            if await Servers(records).by_permalink(permalink) is not None:
                return None
        raise StorageUnavailable(f"the organization {organization.permalink} is gone, or no free id was found")

    if wanted.permalink:
        server = await add(check_permalink(wanted.permalink, Kind.SERVER))
        if server is None:
            raise NameTaken(f"a server has the permalink {wanted.permalink}; choose another")
        return server
    for candidate in permalinks_for(name, Kind.SERVER):
        if server := await add(candidate):
            return server
    raise AssertionError("there are endlessly many permalinks")


def new_server(
    name: str,
    permalink: str,
    mode: Mode,
    ip_pool: str,
    *,
    organization: Organization,
    rng: random.Random,
    now: datetime,
) -> Server:
    """Return a server with an id and a token of its own, not stored yet; checked names are given."""
    return Server(
        id=ServerId(draw_owner_id(rng)),
        organization_id=organization.id,
        name=name,
        permalink=permalink,
        token="".join(rng.choices(string.ascii_lowercase, k=TOKEN_LENGTH)),
        mode=mode,
        created_at=now,
        shards=(Shards(now, 1),),
        ip_pool=ip_pool,
    )


def check_pool(ip_pool: str) -> str:
    """Return the name of an IP pool; it names a queue, so it has the form of a permalink.

    Raises:
        InvalidValue: it has not.
    """
    try:
        return check_permalink(ip_pool, Kind.SERVER)
    except InvalidValue as exc:
        raise InvalidValue("the name of an IP pool has small letters, digits and hyphens only") from exc


async def find_server(permalink: str, *, records: Records) -> Server:
    """Return the server with that permalink.

    Raises:
        NotFound: there is none.
    """
    server = await Servers(records).by_permalink(permalink)
    if server is None:
        raise _gone(permalink)
    return server


async def list_servers(
    organization: Organization, *, records: Records, cursor: str | None = None
) -> tuple[Sequence[Server], str | None]:
    """Return some servers of an organization and the cursor of the next ones, None at the end."""
    return await Servers(records).page(organization.id, cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChanges:
    """What to change of a server; None leaves a thing as it is."""

    name: str | None = None
    mode: Mode | None = None
    allow_sender: bool | None = None
    privacy_mode: bool | None = None
    ip_pool: str | None = None
    shared_tracking: bool | None = None
    spam_threshold: float | None = None
    spam_failure_threshold: float | None = None
    outbound_spam_threshold: OutboundChange = None


async def update_server(permalink: str, changes: ServerChanges, *, records: Records) -> Server:
    """Change settings of a server; doors and nodes see it within five seconds.

    Raises:
        InvalidValue: a name or a pool that cannot be used, or a threshold out of its range.
        NotFound: there is no such server.
    """
    name = None if changes.name is None else check_name(changes.name)
    ip_pool = None if changes.ip_pool is None else check_pool(changes.ip_pool)
    spam, failure, outbound = _checked_thresholds(changes)
    server = await find_server(permalink, records=records)
    changed = await Servers(records).change(
        server,
        name=name,
        mode=changes.mode,
        allow_sender=changes.allow_sender,
        privacy_mode=changes.privacy_mode,
        ip_pool=ip_pool,
        shared_tracking=changes.shared_tracking,
        spam_threshold=spam,
        spam_failure_threshold=failure,
        outbound_spam_threshold=outbound,
    )
    if changed is None:
        raise _gone(permalink)
    return changed


def _checked_thresholds(changes: ServerChanges) -> tuple[float | None, float | None, OutboundChange]:
    spam, failure, outbound = changes.spam_threshold, changes.spam_failure_threshold, changes.outbound_spam_threshold
    return (
        None if spam is None else checked_threshold(spam, SPAM),
        None if failure is None else checked_threshold(failure, SPAM_FAILURE),
        outbound if outbound is None or outbound == NONE else checked_threshold(outbound, OUTBOUND),
    )


async def suspend_server(permalink: str, reason: str, *, records: Records, events: Queue, now: datetime) -> Server:
    """Refuse new mail of a server, hold what is queued, and tell; doors see it within five seconds.

    Raises:
        InvalidValue: the reason is empty or too long.
        NotFound: there is no such server.
    """
    reason = check_reason(reason)
    suspended = await Servers(records).suspend(await find_server(permalink, records=records), now, reason)
    if suspended is None:
        raise _gone(permalink)
    event = Event(
        EventKind.SERVER_SUSPENDED, suspended.id, MessageId(0), 0, now, details=reason, subject=str(to_ms(now))
    )
    await events.send([Outgoing(event.to_json(), group=str(suspended.id))])
    return suspended


async def unsuspend_server(permalink: str, *, records: Records) -> Server:
    """Lift the suspension; what was held stays held until somebody releases it.

    Raises:
        NotFound: there is no such server.
    """
    lifted = await Servers(records).unsuspend(await find_server(permalink, records=records))
    if lifted is None:
        raise _gone(permalink)
    organization = await Organizations(records).get(lifted.organization_id)
    if organization is not None and organization.suspended_at is not None:
        await Suspended(records).add([lifted.id])
    return lifted


async def delete_server(permalink: str, *, typed_name: str, records: Records) -> None:
    """Remove a server with its credentials, domains and webhooks; its messages expire by themselves.

    Args:
        permalink: which one.
        typed_name: its name as a person typed it, to show that this one is meant.
        records: where it lies.

    Raises:
        InvalidValue: the typed name is another one.
        NotFound: there is no such server.
    """
    server = await find_server(permalink, records=records)
    check_typed_name(typed_name, server.name)
    await remove_server(server, records=records)


async def remove_server(server: Server, *, records: Records) -> None:
    """Remove a server, credentials first so that nobody gets in, itself last so that it can be repeated."""
    await remove_credentials(server, records=records)
    await remove_track_domains(server, records=records)
    await remove_domains(server, records=records)
    await remove_routes(server, records=records)
    await Suppressions(records).remove_all(Scope(server.id))
    await remove_endpoints(server.id, records=records)
    await Servers(records).remove(server)


def _gone(permalink: str) -> NotFound:
    return NotFound(f"there is no server with the permalink {permalink}")
