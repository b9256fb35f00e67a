"""Whose suppression list a command is about."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from cli.wiring import Tools
    from shared.domain.suppression import Scope
    from shared.flow.suppress import Suppressing


class Whose(NamedTuple):
    """Which list, as the options say."""

    server: str
    organization: str
    stream: str = ""


class List(NamedTuple):
    """A list, and what changing it needs."""

    scope: "Scope"
    using: "Suppressing"
    now: "datetime"


async def list_of(whose: Whose, tools: "Tools") -> List:
    """Return whose list is meant, and what changing it needs.

    Raises:
        InvalidValue: it is not said whose, or of two.
        NotFound: there is none with that permalink.
    """
    from shared.domain.errors import InvalidValue
    from shared.domain.suppression import Scope, checked_stream
    from shared.flow.organizations import find_organization
    from shared.flow.servers import find_server
    from shared.flow.suppress import Suppressing

    using, now, records = Suppressing.over(tools.stores, tools.settings), tools.now(), tools.stores.records
    if bool(whose.server) == bool(whose.organization):
        raise InvalidValue("say whose list: --server PERMALINK or --organization PERMALINK")
    if whose.server:
        server = await find_server(whose.server, records=records)
        return List(Scope(server.id, stream=checked_stream(whose.stream)), using, now)
    if whose.stream:
        raise InvalidValue("a stream belongs to a server: give --server")
    organization = await find_organization(whose.organization, records=records)
    return List(Scope(organization.id, organization=True), using, now)
