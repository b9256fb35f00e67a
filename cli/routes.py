"""``edgepost route …``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.options import AsJSON, InServer, typer_of
from cli.printing import Answer
from cli.running import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.wiring import Tools
    from shared.domain.routes import Target

Word = TypeVar("Word", bound=StrEnum)

commands = typer_of("Routes: where mail to an address of a domain goes. Port 25 does not use them yet.")

Address = Annotated[
    str, typer.Argument(help="NAME@DOMAIN; * for all other names; or __returnpath__.", metavar="NAME@DOMAIN")
]


@commands.command()
def create(
    address: Address,
    *,
    server: InServer,
    http: Annotated[list[str] | None, typer.Option("--http", help="URL that gets the mail.", metavar="URL")] = None,
    smtp: Annotated[
        list[str] | None, typer.Option("--smtp", help="Host that gets the mail.", metavar="HOST:PORT")
    ] = None,
    forward: Annotated[
        list[str] | None, typer.Option("--address", help="Address that gets the mail.", metavar="ADDR")
    ] = None,
    mode: Annotated[str, typer.Option(help="Accept, Hold, Bounce or Reject, in place of endpoints.")] = "",
    spam_mode: Annotated[str, typer.Option(help="Mark, Quarantine or Fail.")] = "Mark",
    as_json: AsJSON = False,
) -> None:
    """Make a route at a verified domain of the server."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import route_document
        from shared.domain.routes import RouteMode, SpamMode
        from shared.flow.routes import NewRoute, create_route
        from shared.flow.servers import find_server

        wanted = NewRoute(
            address=address,
            mode=_one_of(RouteMode, mode or RouteMode.ENDPOINT.value),
            spam_mode=_one_of(SpamMode, spam_mode),
            targets=_targets(http or [], smtp or [], forward or []),
        )
        made = await create_route(
            wanted,
            server=await find_server(server, records=tools.stores.records),
            allowed=tools.settings.allow_networks.http,
            records=tools.stores.records,
            rng=tools.rng,
            now=tools.now(),
        )
        return Answer(route_document(made, tools.settings))

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer, as_json: AsJSON = False) -> None:
    """List the routes of a server."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import route_document
        from shared.flow.routes import list_routes
        from shared.flow.servers import find_server
        from shared.store.paging import every

        owner = await find_server(server, records=tools.stores.records)
        found = every(lambda cursor: list_routes(owner, records=tools.stores.records, cursor=cursor))
        return Answer({"routes": [route_document(each, tools.settings) async for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Show a route."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import route_document
        from shared.flow.routes import find_route
        from shared.flow.servers import find_server

        owner = await find_server(server, records=tools.stores.records)
        return Answer(
            route_document(await find_route(address, server=owner, records=tools.stores.records), tools.settings)
        )

    run(work, as_json=as_json)


@commands.command()
def delete(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Delete a route."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.routes import delete_route, find_route
        from shared.flow.servers import find_server

        records = tools.stores.records
        owner = await find_server(server, records=records)
        route = await find_route(address, server=owner, records=records)
        await delete_route(route, records=records)
        return Answer({"deleted": route.address})

    run(work, as_json=as_json)


def _targets(urls: "Sequence[str]", hosts: "Sequence[str]", addresses: "Sequence[str]") -> "Sequence[Target]":
    from shared.domain.routes import HTTPTarget, address_target, smtp_target

    return [*map(HTTPTarget, urls), *map(smtp_target, hosts), *map(address_target, addresses)]


def _one_of(choices: "type[Word]", word: str) -> "Word":
    """Return the choice that a word means, whatever its case."""
    from shared.domain.errors import InvalidValue

    found = next((each for each in choices if each.value.lower() == word.lower()), None)
    if found is None:
        raise InvalidValue(f"{word} is none of {', '.join(each.value for each in choices)}")
    return found
