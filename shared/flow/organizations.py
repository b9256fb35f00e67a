"""Organizations: made, renamed, suspended, and removed with everything in them."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from shared.domain.errors import NameTaken, NotFound, StorageUnavailable
from shared.domain.ids import OrganizationId, draw_owner_id
from shared.domain.names import (
    Kind,
    check_name,
    check_permalink,
    check_reason,
    check_typed_name,
    permalinks_for,
)
from shared.domain.suppression import Scope
from shared.domain.tenancy import Organization, Server
from shared.flow.domains import remove_domains
from shared.flow.servers import remove_server
from shared.ports import Records
from shared.store.organizations import Organizations
from shared.store.paging import every
from shared.store.servers import Servers
from shared.store.suppressions import Suppressions
from shared.store.suspended import Suspended

MAX_ID_DRAWS = 5


async def create_organization(
    name: str, *, permalink: str = "", records: Records, rng: random.Random, now: datetime
) -> Organization:
    """Make an organization; without a permalink the first free one for the name is taken.

    Twice: two organizations, unless the permalink was given.

    Raises:
        InvalidValue: the name or the permalink cannot be used.
        NameTaken: the given permalink is in use.
    """
    name = check_name(name)
    store = Organizations(records)
    if permalink:
        organization = await _add(name, check_permalink(permalink, Kind.ORGANIZATION), store, rng=rng, now=now)
        if organization is None:
            raise NameTaken(f"an organization has the permalink {permalink}; choose another")
        return organization
    for candidate in permalinks_for(name, Kind.ORGANIZATION):
        if organization := await _add(name, candidate, store, rng=rng, now=now):
            return organization
    raise AssertionError("there are endlessly many permalinks")


async def _add(
    name: str, permalink: str, store: Organizations, *, rng: random.Random, now: datetime
) -> Organization | None:
    """Store it under a new id; None if the permalink is taken."""
    for _ in range(MAX_ID_DRAWS):
        organization = Organization(OrganizationId(draw_owner_id(rng)), name, permalink, now)
        if await store.add(organization):
            return organization
        if await store.by_permalink(permalink) is not None:
            return None
    raise StorageUnavailable("no free id was found")


async def find_organization(permalink: str, *, records: Records) -> Organization:
    """Return the organization with that permalink.

    Raises:
        NotFound: there is none.
    """
    organization = await Organizations(records).by_permalink(permalink)
    if organization is None:
        raise _gone(permalink)
    return organization


async def list_organizations(
    *, records: Records, cursor: str | None = None
) -> tuple[Sequence[Organization], str | None]:
    """Return some organizations and the cursor of the next ones, None at the end."""
    return await Organizations(records).page(cursor)


async def rename_organization(permalink: str, name: str, *, records: Records) -> Organization:
    """Change the name; the permalink stays, because other systems know it.

    Raises:
        InvalidValue: the name cannot be used.
        NotFound: there is no such organization.
    """
    name = check_name(name)
    organization = await find_organization(permalink, records=records)
    renamed = await Organizations(records).rename(organization, name)
    if renamed is None:
        raise _gone(permalink)
    return renamed


async def suspend_organization(permalink: str, reason: str, *, records: Records, now: datetime) -> Organization:
    """Suspend all servers of an organization; doors see it within five seconds.

    Raises:
        InvalidValue: the reason is empty or too long.
        NotFound: there is no such organization.
    """
    reason = check_reason(reason)
    organization = await find_organization(permalink, records=records)
    suspended = await Organizations(records).suspend(organization, now, reason)
    if suspended is None:
        raise _gone(permalink)
    await Suspended(records).add([server.id async for server in _servers_of(organization, records)])
    return suspended


async def unsuspend_organization(permalink: str, *, records: Records) -> Organization:
    """Lift the suspension; servers that were suspended by themselves stay so.

    Raises:
        NotFound: there is no such organization.
    """
    organization = await find_organization(permalink, records=records)
    lifted = await Organizations(records).unsuspend(organization)
    if lifted is None:
        raise _gone(permalink)
    free = [server.id async for server in _servers_of(organization, records) if server.suspended_at is None]
    await Suspended(records).remove(free)
    return lifted


async def delete_organization(permalink: str, *, typed_name: str, records: Records) -> None:
    """Remove an organization with its servers, domains and credentials, one bounded step after another.

    It goes last itself, so a deletion that was interrupted can be repeated.

    Args:
        permalink: which one.
        typed_name: its name as a person typed it, to show that this one is meant.
        records: where it lies.

    Raises:
        InvalidValue: the typed name is another one.
        NotFound: there is no such organization.
    """
    organization = await find_organization(permalink, records=records)
    check_typed_name(typed_name, organization.name)
    async for server in _servers_of(organization, records):
        await remove_server(server, records=records)
    await remove_domains(organization, records=records)
    await Suppressions(records).remove_all(Scope(organization.id, organization=True))
    await Organizations(records).remove(organization)


def _servers_of(organization: Organization, records: Records) -> AsyncIterator[Server]:
    servers = Servers(records)
    return every(lambda cursor: servers.page(organization.id, cursor))


def _gone(permalink: str) -> NotFound:
    return NotFound(f"there is no organization with the permalink {permalink}")
