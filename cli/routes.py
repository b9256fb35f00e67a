"""``edgepost route …``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.options import AsJSON, InServer, typer_of
from cli.printing import Answer
from cli.running import run

if TYPE_CHECKING:
    from cli.wiring import Tools

Word = TypeVar("Word", bound=StrEnum)

commands = typer_of("Routes: where mail to an address of a domain goes. docs/routes.md tells more.")

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
    tls: Annotated[
        str, typer.Option(help="For --smtp: starttls (must), opportunistic, tls (from the first byte) or none.")
    ] = "starttls",
    encoding: Annotated[str, typer.Option(help="For --http: BodyAsJSON or FormData.")] = "BodyAsJSON",
    payload: Annotated[str, typer.Option("--format", help="For --http: Hash or RawMessage.")] = "Hash",
    attachments: Annotated[
        bool, typer.Option("--attachments/--no-attachments", help="For --http: whether a hash has the files.")
    ] = True,
    strip_replies: Annotated[
        bool, typer.Option("--strip-replies", help="For --http: give what a reply quotes apart.")
    ] = False,
    mode: Annotated[str, typer.Option(help="Accept, Hold, Bounce or Reject, in place of endpoints.")] = "",
    spam_mode: Annotated[str, typer.Option(help="Mark, Quarantine or Fail.")] = "Mark",
    as_json: AsJSON = False,
) -> None:
    """Make a route at a verified domain of the server."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import route_document
        from shared.domain.job import TLSMode
        from shared.domain.routes import (
            Encoding,
            HTTPTarget,
            PayloadFormat,
            RouteMode,
            SpamMode,
            address_target,
            smtp_target,
        )
        from shared.flow.routes import NewRoute, create_route, issue_secret
        from shared.flow.servers import find_server

        words = _one_of(Encoding, encoding), _one_of(PayloadFormat, payload)
        wanted = NewRoute(
            address=address,
            mode=_one_of(RouteMode, mode or RouteMode.ENDPOINT.value),
            spam_mode=_one_of(SpamMode, spam_mode),
            targets=[
                *(HTTPTarget(url, *words, attachments=attachments, strip_replies=strip_replies) for url in http or ()),
                *(smtp_target(host, _one_of(TLSMode, tls)) for host in smtp or ()),
                *map(address_target, forward or ()),
            ],
        )
        made = await create_route(
            wanted,
            server=await find_server(server, records=tools.stores.records),
            allowed=tools.settings.allow_networks.http,
            records=tools.stores.records,
            rng=tools.rng,
            now=tools.now(),
        )
        document = route_document(made, tools.settings)
        if http:
            stores = tools.stores
            secret = await issue_secret(made, records=stores.records, keyring=stores.keyring, rng=tools.rng)
            document |= {"secret": secret}
        return Answer(document)

    run(work, as_json=as_json)


@commands.command("rotate-secret")
def rotate_secret(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Draw another secret for what HTTP endpoints get; it counts at once."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.routes import find_route, issue_secret
        from shared.flow.servers import find_server

        stores = tools.stores
        route = await find_route(
            address, server=await find_server(server, records=stores.records), records=stores.records
        )
        secret = await issue_secret(route, records=stores.records, keyring=stores.keyring, rng=tools.rng)
        return Answer({"route": route.address, "secret": secret})

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


def _one_of(choices: "type[Word]", word: str) -> "Word":
    """Return the choice that a word means, whatever its case."""
    from shared.domain.errors import InvalidValue

    found = next((each for each in choices if each.value.lower() == word.lower()), None)
    if found is None:
        raise InvalidValue(f"{word} is none of {', '.join(each.value for each in choices)}")
    return found
