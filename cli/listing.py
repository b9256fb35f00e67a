"""Every server of the installation, for commands that list or count them."""

from collections.abc import AsyncIterator

from shared.domain.tenancy import Organization, Server
from shared.flow.organizations import find_organization, list_organizations
from shared.flow.servers import list_servers
from shared.ports import Records
from shared.store.paging import every


async def every_organization(*, records: Records) -> AsyncIterator[Organization]:
    """Yield all organizations."""
    async for organization in every(lambda cursor: list_organizations(records=records, cursor=cursor)):
        yield organization


async def every_server(*, records: Records, permalink: str = "") -> AsyncIterator[tuple[Server, Organization]]:
    """Yield the servers of one organization, or all, each with its organization.

    Raises:
        NotFound: there is no organization with that permalink.
    """
    if permalink:
        owner = await find_organization(permalink, records=records)
        async for server in _servers_of(owner, records=records):
            yield server, owner
        return
    async for owner in every_organization(records=records):
        async for server in _servers_of(owner, records=records):
            yield server, owner


async def _servers_of(organization: Organization, *, records: Records) -> AsyncIterator[Server]:
    async for server in every(lambda cursor: list_servers(organization, records=records, cursor=cursor)):
        yield server
