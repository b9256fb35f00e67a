"""``edgepost webhook …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InServer, KeepHours, typer_of
from cli.printing import Answer
from cli.running import run
from shared.domain.event_names import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.wiring import Tools
    from shared.domain.endpoint import Endpoint
    from shared.domain.tenancy import Server

commands = typer_of("Webhooks: endpoints of a server that are told what became of its mail.")

EndpointNumber = Annotated[int, typer.Argument(help="Id of the endpoint.", metavar="ID")]
Events = typer.Option("--events", help="Names, separated by commas; all if not given.", metavar="A,B")
Header = typer.Option("--header", help="Further header, as Name: value; may be repeated.", metavar="N:V")

KEEP_IT = "Keep the secret now: it is shown this once."


@commands.command()
def create(
    *,
    server: InServer,
    url: Annotated[str, typer.Option("--url", help="Where to send events.", metavar="URL")],
    events: Annotated[str, Events] = "",
    dialect: Annotated[
        Dialect, typer.Option("--dialect", case_sensitive=False, help="In whose words: ours, or Postal's.")
    ] = (Dialect.EDGEPOST),
    header: Annotated[list[str] | None, Header] = None,
    as_json: AsJSON = False,
) -> None:
    """Make an endpoint and print the secret that its requests are signed with."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.endpoints import NewEndpoint, create_endpoint

        made = await create_endpoint(
            NewEndpoint(url=url, events=_names(events), dialect=dialect, headers=header or ()),
            server=await _server(server, tools),
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            allowed=tools.settings.allow_networks.http,
            rng=tools.rng,
            now=tools.now(),
        )
        if dialect is Dialect.POSTAL:
            # Its receiver may ask for the key before the first event comes.
            async with tools.requests() as requests:
                await requests.postal_signer()
        return Answer({"id": made.endpoint.id, "secret": made.secret}, said=KEEP_IT)

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer, as_json: AsJSON = False) -> None:
    """List the endpoints of a server."""

    async def work(tools: "Tools") -> Answer:
        from cli.webhook_documents import endpoint_row
        from shared.flow.endpoints import list_endpoints

        found = await list_endpoints(await _server(server, tools), records=tools.stores.records)
        return Answer({"webhooks": [endpoint_row(each) for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(endpoint_id: EndpointNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Show one endpoint, without its secret."""

    async def work(tools: "Tools") -> Answer:
        return await _answer(await _endpoint(endpoint_id, server, tools))

    run(work, as_json=as_json)


@commands.command()
def update(
    endpoint_id: EndpointNumber,
    server: InServer,
    *,
    url: Annotated[str | None, typer.Option("--url", help="The new URL.", metavar="URL")] = None,
    events: Annotated[str | None, Events] = None,
    header: Annotated[list[str] | None, Header] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Enabling forgets the failures of before.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Change what is given; the secret stays."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.endpoints import EndpointChanges, update_endpoint

        changed = await update_endpoint(
            await _server(server, tools),
            endpoint_id,
            EndpointChanges(
                url=url, events=None if events is None else _names(events), headers=header, enabled=enabled
            ),
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            allowed=tools.settings.allow_networks.http,
        )
        return await _answer(changed)

    run(work, as_json=as_json)


@commands.command()
def delete(endpoint_id: EndpointNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Delete an endpoint; what waits for it is dropped."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.endpoints import delete_endpoint

        await delete_endpoint(await _server(server, tools), endpoint_id, records=tools.stores.records)
        return Answer({"deleted": endpoint_id})

    run(work, as_json=as_json)


@commands.command("rotate-secret")
def rotate(
    endpoint_id: EndpointNumber,
    server: InServer,
    keep_hours: KeepHours = 24,
    as_json: AsJSON = False,
) -> None:
    """Give it a new secret; for a while both sign."""

    async def work(tools: "Tools") -> Answer:
        from datetime import timedelta

        from shared.flow.endpoints import rotate_secret

        made = await rotate_secret(
            await _server(server, tools),
            endpoint_id,
            keep=timedelta(hours=keep_hours),
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            rng=tools.rng,
            now=tools.now(),
        )
        return Answer({"id": made.endpoint.id, "secret": made.secret}, said=KEEP_IT)

    run(work, as_json=as_json)


@commands.command("test")
def send_test(
    endpoint_id: EndpointNumber,
    server: InServer,
    event: Annotated[str, typer.Option("--event", help="Which event to make up.", metavar="NAME")] = "",
    as_json: AsJSON = False,
) -> None:
    """Send a made-up event now, once, and show the answer."""

    async def work(tools: "Tools") -> Answer:
        from cli.webhook_documents import answer_document
        from shared.flow.webhook_trial import try_endpoint

        owner = await _server(server, tools)
        endpoint = await _endpoint(endpoint_id, server, tools)
        async with tools.requests() as requests:
            answer = await try_endpoint(
                endpoint, owner, event=event, requests=requests, records=tools.stores.records, now=tools.now()
            )
        return Answer(answer_document(answer), failed=not 200 <= answer.status < 300)

    run(work, as_json=as_json)


@commands.command()
def attempts(
    endpoint_id: EndpointNumber,
    server: InServer,
    limit: Annotated[int, typer.Option("--limit", help="How many attempts at most.", min=1, max=1000)] = 50,
    as_json: AsJSON = False,
) -> None:
    """Show what was sent to an endpoint in the last ten days, newest first, and what it answered."""

    async def work(tools: "Tools") -> Answer:
        from itertools import islice

        from cli.webhook_documents import attempt_document
        from shared.store.parcels import Parcels

        endpoint = await _endpoint(endpoint_id, server, tools)
        found, cursor = await Parcels(tools.stores.records).attempts(endpoint.server_id, endpoint.id)
        some = [*found]
        while cursor is not None and len(some) < limit:
            found, cursor = await Parcels(tools.stores.records).attempts(endpoint.server_id, endpoint.id, cursor)
            some += found
        return Answer({"attempts": [attempt_document(each) for each in islice(some, limit)]})

    run(work, as_json=as_json)


@commands.command()
def replay(
    endpoint_id: EndpointNumber,
    server: InServer,
    *,
    since: Annotated[str, typer.Option("--since", help="From here on: 2h, 3d, or a moment with its zone.")] = "24h",
    until: Annotated[str, typer.Option("--until", help="Up to here; now if not given.")] = "",
    events: Annotated[str, Events] = "",
    event_id: Annotated[list[str] | None, typer.Option("--event-id", help="Only this one; may be repeated.")] = None,
    message: Annotated[int, typer.Option("--message", help="Only of this message.", metavar="ID")] = 0,
    as_json: AsJSON = False,
) -> None:
    """Send once more what the event log has, with the ids of the first time."""

    async def work(tools: "Tools") -> Answer:
        from cli.moments import moment
        from shared.domain.event_names import kind_named
        from shared.flow.hand_on import HandingOn
        from shared.flow.replay import Wanted
        from shared.flow.replay import replay as send_again
        from shared.store.directory import Directory
        from shared.store.endpoints import Endpoints
        from shared.store.event_log import EventLog
        from shared.store.messages import Messages

        records, now = tools.stores.records, tools.now()
        owner = await _server(server, tools)
        number = await send_again(
            Wanted(
                since=moment(since, now),
                until=moment(until, now) if until else now,
                kinds=frozenset(kind_named(each) for each in _names(events)),
                event_ids=frozenset(event_id or ()),
                message_id=message,
            ),
            endpoint=await _endpoint(endpoint_id, server, tools),
            server=owner,
            log=EventLog(records, kept=tools.settings.event_retention),
            using=HandingOn(
                Endpoints(records), Directory(records, clock=tools.clock), Messages(records), tools.stores.webhooks
            ),
            now=now,
        )
        return Answer({"replayed": number})

    run(work, as_json=as_json)


async def _server(permalink: str, tools: "Tools") -> "Server":
    from shared.flow.servers import find_server

    return await find_server(permalink, records=tools.stores.records)


async def _endpoint(endpoint_id: int, server: str, tools: "Tools") -> "Endpoint":
    from shared.flow.endpoints import find_endpoint

    return await find_endpoint(await _server(server, tools), endpoint_id, records=tools.stores.records)


async def _answer(endpoint: "Endpoint") -> Answer:
    from cli.webhook_documents import endpoint_document

    return Answer(endpoint_document(endpoint))


def _names(events: str) -> "Sequence[str]":
    return [each.strip() for each in events.split(",") if each.strip()]
