"""Whose: the server or organization that ``--server`` or ``--organization`` names."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.store.domains import Owner


async def owner_or_none(server: str, organization: str, tools: "Tools") -> "Owner | None":
    """Return whose domain is meant, or None if neither option was given.

    Raises:
        InvalidValue: both were given.
        NotFound: there is none with that permalink.
    """
    from shared.domain.errors import InvalidValue
    from shared.flow.organizations import find_organization
    from shared.flow.servers import find_server

    if server and organization:
        raise InvalidValue("a domain belongs to a server or to an organization: give one of the two")
    if server:
        return await find_server(server, records=tools.stores.records)
    if organization:
        return await find_organization(organization, records=tools.stores.records)
    return None
