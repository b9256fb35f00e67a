"""``edgepost server …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InOrganization, NewName, NewPermalink, Permalink, Reason, Yes, typer_of
from cli.printing import Answer
from cli.running import run, typed_name
from shared.domain.tenancy import Mode

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.domain.tenancy import Server

commands = typer_of("Mail servers: what sends, is limited and is counted.")

AsMode = typer.Option("--mode", case_sensitive=False, help="Live sends; Development holds every message.")
Pool = typer.Option("--ip-pool", help="IP pool that its mail leaves from.", metavar="POOL")


@commands.command()
def create(
    name: NewName,
    *,
    organization: InOrganization,
    mode: Annotated[Mode, AsMode] = Mode.LIVE,
    permalink: NewPermalink = "",
    ip_pool: Annotated[str, Pool] = "default",
    as_json: AsJSON = False,
) -> None:
    """Make a server in an organization."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.organizations import find_organization
        from shared.flow.servers import NewServer, create_server

        records = tools.stores.records
        made = await create_server(
            NewServer(name=name, permalink=permalink, mode=mode, ip_pool=ip_pool),
            organization=await find_organization(organization, records=records),
            records=records,
            rng=tools.rng,
            now=tools.now(),
        )
        return await _answer(made, tools)

    run(work, as_json=as_json)


@commands.command("list")
def list_all(organization: InOrganization = "", as_json: AsJSON = False) -> None:
    """List the servers of an organization, or all."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import server_document
        from cli.listing import every_server

        pairs = every_server(records=tools.stores.records, permalink=organization)
        found = [server_document(server, owner) async for server, owner in pairs]
        return Answer({"servers": found})

    run(work, as_json=as_json)


@commands.command()
def show(permalink: Permalink, as_json: AsJSON = False) -> None:
    """Show one server."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.servers import find_server

        return await _answer(await find_server(permalink, records=tools.stores.records), tools)

    run(work, as_json=as_json)


@commands.command()
def update(
    permalink: Permalink,
    *,
    name: Annotated[str | None, typer.Option("--name", help="The new name.", metavar="NAME")] = None,
    mode: Annotated[Mode | None, AsMode] = None,
    allow_sender: Annotated[
        bool | None, typer.Option(help="Accept mail whose Sender, not From, is of a verified domain.")
    ] = None,
    privacy_mode: Annotated[
        bool | None, typer.Option(help="Leave the client's name and address out of the Received header.")
    ] = None,
    ip_pool: Annotated[str | None, Pool] = None,
    shared_tracking: Annotated[
        bool | None, typer.Option(help="Track mail under the installation's own domain where it has none.")
    ] = None,
    spam_threshold: Annotated[
        float | None, typer.Option(help="Incoming mail that scores more is spam; -10 to 25.", metavar="SCORE")
    ] = None,
    spam_failure_threshold: Annotated[
        float | None, typer.Option(help="Incoming mail that scores so much fails; 10 to 50.", metavar="SCORE")
    ] = None,
    outbound_spam_threshold: Annotated[
        str | None,
        typer.Option(help="Outgoing mail that scores so much fails; none: it is not scanned.", metavar="SCORE|none"),
    ] = None,
    shards: Annotated[
        int | None, typer.Option(help="Spread what comes from two minutes on over so many partitions.", metavar="N")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Change what is given; the permalink stays."""

    async def work(tools: "Tools") -> Answer:
        from shared.domain.thresholds import outbound_change
        from shared.flow.grow import set_shards
        from shared.flow.servers import ServerChanges, update_server

        records = tools.stores.records
        changes = ServerChanges(
            name=name,
            mode=mode,
            allow_sender=allow_sender,
            privacy_mode=privacy_mode,
            ip_pool=ip_pool,
            shared_tracking=shared_tracking,
            spam_threshold=spam_threshold,
            spam_failure_threshold=spam_failure_threshold,
            outbound_spam_threshold=outbound_change(outbound_spam_threshold),
        )
        server = await update_server(permalink, changes, records=records)
        if shards is not None:
            server = await set_shards(permalink, shards, records=records, now=tools.now())
        return await _answer(server, tools)

    run(work, as_json=as_json)


@commands.command()
def suspend(permalink: Permalink, reason: Reason, as_json: AsJSON = False) -> None:
    """Suspend it: new mail is refused, queued mail is held."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.servers import suspend_server

        stores = tools.stores
        suspended = await suspend_server(
            permalink, reason, records=stores.records, events=stores.events, now=tools.now()
        )
        return await _answer(suspended, tools)

    run(work, as_json=as_json)


@commands.command()
def unsuspend(permalink: Permalink, as_json: AsJSON = False) -> None:
    """Lift its suspension; held mail waits for its release."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.servers import unsuspend_server

        return await _answer(await unsuspend_server(permalink, records=tools.stores.records), tools)

    run(work, as_json=as_json)


@commands.command()
def delete(permalink: Permalink, yes: Yes = False, as_json: AsJSON = False) -> None:
    """Delete it with its domains and credentials."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.servers import delete_server, find_server

        records = tools.stores.records
        name = (await find_server(permalink, records=records)).name
        typed = typed_name(name, yes=yes, as_json=as_json)
        await delete_server(permalink, typed_name=typed, records=records)
        return Answer({"deleted": permalink})

    run(work, as_json=as_json)


async def _answer(server: "Server", tools: "Tools") -> Answer:
    from cli.documents import server_document
    from shared.domain.errors import NotFound
    from shared.store.organizations import Organizations

    organization = await Organizations(tools.stores.records).get(server.organization_id)
    if organization is None:
        raise NotFound(f"the organization of {server.permalink} was deleted just now")
    return Answer(server_document(server, organization))
