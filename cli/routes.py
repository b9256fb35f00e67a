"""``edgepost route …``."""

from typing import TYPE_CHECKING

from cli.options import AsJSON, InServer, KeepHours, typer_of
from cli.printing import Answer
from cli.route_options import (
    HTTP,
    SMTP,
    TLS,
    Address,
    Attachments,
    EncodingWord,
    FormatWord,
    Forward,
    ModeWord,
    SpamWord,
    StripReplies,
    Timeout,
    one_of,
    options_of,
    targets_of,
)
from cli.running import run
from shared.domain.routes import RouteMode, SpamMode

if TYPE_CHECKING:
    from cli.printing import Document
    from cli.wiring import Tools
    from shared.domain.routes import Route

commands = typer_of("Routes: where mail to an address of a domain goes. docs/routes.md tells more.")

SIGNED = "What HTTP endpoints get is signed with the route's secret; `edgepost route rotate-secret` shows a new one."
KEEP_IT = "Keep the secret now: it is shown this once."


@commands.command()
def create(
    address: Address,
    *,
    server: InServer,
    http: HTTP = None,
    smtp: SMTP = None,
    forward: Forward = None,
    tls: TLS = "",
    encoding: EncodingWord = "",
    payload: FormatWord = "",
    attachments: Attachments = None,
    strip_replies: StripReplies = None,
    timeout: Timeout = None,
    mode: ModeWord = "",
    spam_mode: SpamWord = "",
    as_json: AsJSON = False,
) -> None:
    """Make a route at a verified domain of the server, and print the secret that signs what HTTP endpoints get."""

    async def work(tools: "Tools") -> Answer:
        from cli.route_documents import route_document
        from shared.flow.routes import NewRoute, create_route
        from shared.flow.servers import find_server

        options = options_of(encoding, payload, tls, attachments=attachments, replies=strip_replies, timeout=timeout)
        targets = targets_of(http, smtp, forward)
        options.check(targets)
        stores = tools.stores
        made = await create_route(
            NewRoute(
                address=address,
                mode=one_of(RouteMode, mode) or RouteMode.ENDPOINT,
                spam_mode=one_of(SpamMode, spam_mode) or SpamMode.MARK,
                targets=[options.of(each) for each in targets],
            ),
            server=await find_server(server, records=stores.records),
            allowed=tools.settings.allow_networks.http,
            records=stores.records,
            keyring=stores.keyring,
            rng=tools.rng,
            now=tools.now(),
        )
        document = route_document(made.route, tools.settings, stores.keyring)
        if not http:
            return _answer(document)
        return _answer(document | {"secret": made.secret}, said=KEEP_IT)

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer, as_json: AsJSON = False) -> None:
    """List the routes of a server."""

    async def work(tools: "Tools") -> Answer:
        from cli.route_documents import route_row
        from shared.flow.routes import list_routes
        from shared.flow.servers import find_server
        from shared.store.paging import every

        owner = await find_server(server, records=tools.stores.records)
        found = every(lambda cursor: list_routes(owner, records=tools.stores.records, cursor=cursor))
        return Answer({"routes": [route_row(each, tools.settings) async for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Show a route with the options of its endpoints, without its secret."""

    async def work(tools: "Tools") -> Answer:
        from cli.route_documents import route_document

        return _answer(route_document(await _route(address, server, tools), tools.settings, tools.stores.keyring))

    run(work, as_json=as_json)


@commands.command()
def update(
    address: Address,
    *,
    server: InServer,
    http: HTTP = None,
    smtp: SMTP = None,
    forward: Forward = None,
    tls: TLS = "",
    encoding: EncodingWord = "",
    payload: FormatWord = "",
    attachments: Attachments = None,
    strip_replies: StripReplies = None,
    timeout: Timeout = None,
    mode: ModeWord = "",
    spam_mode: SpamWord = "",
    as_json: AsJSON = False,
) -> None:
    """Change what is given: endpoints take the place of all there are, options count for all endpoints."""

    async def work(tools: "Tools") -> Answer:
        from cli.route_documents import route_document
        from shared.domain.route_changes import RouteChanges
        from shared.flow.routes import update_route

        stores = tools.stores
        changed = await update_route(
            await _route(address, server, tools),
            RouteChanges(
                mode=one_of(RouteMode, mode),
                spam_mode=one_of(SpamMode, spam_mode),
                targets=targets_of(http, smtp, forward) or None,
                options=options_of(
                    encoding, payload, tls, attachments=attachments, replies=strip_replies, timeout=timeout
                ),
            ),
            allowed=tools.settings.allow_networks.http,
            records=stores.records,
            keyring=stores.keyring,
        )
        document = route_document(changed, tools.settings, stores.keyring)
        return _answer(document, said=SIGNED if http else "")

    run(work, as_json=as_json)


@commands.command("rotate-secret")
def rotate_secret(
    address: Address,
    server: InServer,
    keep_hours: KeepHours = 24,
    as_json: AsJSON = False,
) -> None:
    """Give it a new secret for what HTTP endpoints get; for a while both sign."""

    async def work(tools: "Tools") -> Answer:
        from datetime import timedelta

        from shared.flow.routes import rotate_route_secret

        made = await rotate_route_secret(
            await _route(address, server, tools),
            keep=timedelta(hours=keep_hours),
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            rng=tools.rng,
            now=tools.now(),
        )
        return Answer({"route": made.route.address, "secret": made.secret}, said=KEEP_IT)

    run(work, as_json=as_json)


@commands.command("test")
def send_test(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Send a made-up mail to the HTTP endpoints now, once, and show the answers."""

    async def work(tools: "Tools") -> Answer:
        from cli.route_documents import tried_document
        from shared.flow.route_trial import try_route

        route = await _route(address, server, tools)
        async with tools.inbound_requests() as requests:
            tried = await try_route(route, requests=requests, rng=tools.rng, now=tools.now())
        shown = [tried_document(each) for each in tried]
        return Answer({"endpoints": shown}, failed=not all(each["delivered"] for each in shown))

    run(work, as_json=as_json)


@commands.command()
def delete(address: Address, server: InServer, as_json: AsJSON = False) -> None:
    """Delete a route; mail to it is refused from then on, and what waits for its endpoints fails."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.routes import delete_route

        route = await _route(address, server, tools)
        await delete_route(route, records=tools.stores.records)
        return Answer({"deleted": route.address})

    run(work, as_json=as_json)


def _answer(document: "Document", *, said: str = "") -> Answer:
    """Return a route; people see each endpoint with its options on one line."""
    from cli.route_documents import route_for_people

    return Answer(document, said=said, instead=route_for_people(document))


async def _route(address: str, server: str, tools: "Tools") -> "Route":
    from shared.flow.routes import find_route
    from shared.flow.servers import find_server

    records = tools.stores.records
    return await find_route(address, server=await find_server(server, records=records), records=records)
