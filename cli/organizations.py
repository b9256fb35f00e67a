"""``edgepost org …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, NewName, NewPermalink, Permalink, Reason, Yes, typer_of
from cli.printing import Answer
from cli.running import run, typed_name

if TYPE_CHECKING:
    from cli.wiring import Tools

commands = typer_of("Organizations: tenants, each with servers and domains of its own.")


@commands.command()
def create(name: NewName, permalink: NewPermalink = "", as_json: AsJSON = False) -> None:
    """Make an organization."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from shared.flow.organizations import create_organization

        made = await create_organization(
            name, permalink=permalink, records=tools.stores.records, rng=tools.rng, now=tools.now()
        )
        return Answer(organization_document(made))

    run(work, as_json=as_json)


@commands.command("list")
def list_all(as_json: AsJSON = False) -> None:
    """List all organizations."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from cli.listing import every_organization

        found = every_organization(records=tools.stores.records)
        return Answer({"organizations": [organization_document(each) async for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(permalink: Permalink, as_json: AsJSON = False) -> None:
    """Show one organization."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from shared.flow.organizations import find_organization

        return Answer(organization_document(await find_organization(permalink, records=tools.stores.records)))

    run(work, as_json=as_json)


@commands.command()
def update(
    permalink: Permalink,
    name: Annotated[str, typer.Option("--name", help="The new name.", metavar="NAME")],
    as_json: AsJSON = False,
) -> None:
    """Give it another name; the permalink stays."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from shared.flow.organizations import rename_organization

        return Answer(organization_document(await rename_organization(permalink, name, records=tools.stores.records)))

    run(work, as_json=as_json)


@commands.command()
def suspend(permalink: Permalink, reason: Reason, as_json: AsJSON = False) -> None:
    """Suspend it: none of its servers may send."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from shared.flow.organizations import suspend_organization

        suspended = await suspend_organization(permalink, reason, records=tools.stores.records, now=tools.now())
        return Answer(organization_document(suspended))

    run(work, as_json=as_json)


@commands.command()
def unsuspend(permalink: Permalink, as_json: AsJSON = False) -> None:
    """Lift its suspension."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import organization_document
        from shared.flow.organizations import unsuspend_organization

        return Answer(organization_document(await unsuspend_organization(permalink, records=tools.stores.records)))

    run(work, as_json=as_json)


@commands.command()
def delete(permalink: Permalink, yes: Yes = False, as_json: AsJSON = False) -> None:
    """Delete it with all its servers, domains and credentials."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.organizations import delete_organization, find_organization

        records = tools.stores.records
        name = (await find_organization(permalink, records=records)).name
        typed = typed_name(name, yes=yes, as_json=as_json)
        await delete_organization(permalink, typed_name=typed, records=records)
        return Answer({"deleted": permalink})

    run(work, as_json=as_json)
