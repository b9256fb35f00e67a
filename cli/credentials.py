"""``edgepost credential …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InServer, typer_of
from cli.printing import Answer
from cli.running import run
from shared.domain.tenancy import CredentialType

if TYPE_CHECKING:
    from cli.wiring import Tools

commands = typer_of("Credentials: API keys, SMTP passwords, and networks that send without either.")

CredentialNumber = Annotated[int, typer.Argument(help="Id of the credential.", metavar="ID")]


@commands.command()
def create(
    *,
    server: InServer,
    kind: Annotated[CredentialType, typer.Option("--type", case_sensitive=False, help="Which door it opens.")],
    name: Annotated[str, typer.Option("--name", help="A name for people.", metavar="NAME")] = "",
    hold: Annotated[bool, typer.Option("--hold", help="Hold everything that comes in with it.")] = False,
    network: Annotated[
        str, typer.Option("--network", help="For SMTP-IP: a network such as 192.0.2.0/24.", metavar="CIDR")
    ] = "",
    as_json: AsJSON = False,
) -> None:
    """Make a credential and print its key, this once."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.credentials import NewCredential, create_credential
        from shared.flow.servers import find_server

        records = tools.stores.records
        issued = await create_credential(
            NewCredential(type=kind, name=name or f"{kind.value} credential", hold=hold, network=network),
            server=await find_server(server, records=records),
            records=records,
            rng=tools.rng,
            now=tools.now(),
        )
        document = {"id": issued.credential.id, "type": kind.value, "key": issued.key}
        said = "" if kind is CredentialType.SMTP_IP else "Keep the key now: it is stored nowhere and shown this once."
        return Answer(document, said=said)

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer, as_json: AsJSON = False) -> None:
    """List the credentials of a server, without their keys."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import credential_document
        from shared.flow.credentials import list_credentials
        from shared.flow.servers import find_server
        from shared.store.paging import every

        records = tools.stores.records
        owner = await find_server(server, records=records)
        found = every(lambda cursor: list_credentials(owner, records=records, cursor=cursor))
        return Answer({"credentials": [credential_document(each, tools.now()) async for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(credential_id: CredentialNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Show one credential, without its key."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import credential_document
        from shared.flow.credentials import find_credential
        from shared.flow.servers import find_server

        records = tools.stores.records
        found = await find_credential(await find_server(server, records=records), credential_id, records=records)
        return Answer(credential_document(found, tools.now()))

    run(work, as_json=as_json)


@commands.command()
def update(
    credential_id: CredentialNumber,
    server: InServer,
    name: Annotated[str | None, typer.Option("--name", help="The new name.", metavar="NAME")] = None,
    hold: Annotated[bool | None, typer.Option(help="Hold everything that comes in with it, or no longer.")] = None,
    as_json: AsJSON = False,
) -> None:
    """Change name or hold; the key stays."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import credential_document
        from shared.flow.credentials import update_credential
        from shared.flow.servers import find_server

        records = tools.stores.records
        owner = await find_server(server, records=records)
        changed = await update_credential(owner, credential_id, name=name, hold=hold, records=records)
        return Answer(credential_document(changed, tools.now()))

    run(work, as_json=as_json)


@commands.command()
def delete(credential_id: CredentialNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Delete a credential; its key is refused within five seconds."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.credentials import delete_credential
        from shared.flow.servers import find_server

        records = tools.stores.records
        owner = await find_server(server, records=records)
        await delete_credential(owner, credential_id, records=records)
        return Answer({"deleted": credential_id})

    run(work, as_json=as_json)
