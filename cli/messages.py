"""``edgepost message …``."""

from typing import TYPE_CHECKING

from cli.options import AsJSON, InServer, MessageNumber, typer_of
from cli.printing import Answer
from cli.running import run

if TYPE_CHECKING:
    from cli.wiring import Tools

commands = typer_of("Messages: what became of one, and what to do with held ones.")


@commands.command()
def show(message_id: MessageNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Show a message and every attempt to deliver it."""

    async def work(tools: "Tools") -> Answer:
        return await _message(server, message_id, tools)

    run(work, as_json=as_json)


@commands.command()
def held(server: InServer, as_json: AsJSON = False) -> None:
    """List the messages of a server that wait for somebody to release them."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import message_row
        from shared.domain.message import Message
        from shared.flow.hold import MAX_PAGE
        from shared.flow.hold import held as held_page
        from shared.flow.servers import find_server
        from shared.store.paging import every

        owner = await find_server(server, records=tools.stores.records)
        settling = tools.settling()

        async def page(cursor: str | None) -> tuple[list[Message], str | None]:
            found = await held_page(owner, cursor=cursor, limit=MAX_PAGE, using=settling)
            return list(found.messages), found.cursor

        return Answer({"messages": [message_row(each) async for each in every(page)]})

    run(work, as_json=as_json)


@commands.command()
def release(message_id: MessageNumber, server: InServer, as_json: AsJSON = False) -> None:
    """Send a held message after all."""

    async def work(tools: "Tools") -> Answer:
        from shared.domain.ids import MessageId
        from shared.flow.hold import release as let_go
        from shared.flow.servers import find_server

        owner = await find_server(server, records=tools.stores.records)
        await let_go(owner, MessageId(message_id), using=tools.settling())
        return await _message(server, message_id, tools)

    run(work, as_json=as_json)


@commands.command()
def cancel(message_id: MessageNumber, server: InServer, as_json: AsJSON = False) -> None:
    """End a held message without sending it."""

    async def work(tools: "Tools") -> Answer:
        from shared.domain.ids import MessageId
        from shared.flow.hold import cancel as end
        from shared.flow.servers import find_server

        owner = await find_server(server, records=tools.stores.records)
        await end(owner, MessageId(message_id), using=tools.settling(), now=tools.now())
        return await _message(server, message_id, tools)

    run(work, as_json=as_json)


async def _message(server: str, message_id: int, tools: "Tools") -> Answer:
    from cli.documents import message_document
    from shared.domain.errors import NotFound
    from shared.domain.ids import MessageId
    from shared.flow.servers import find_server
    from shared.store.messages import Messages

    records = tools.stores.records
    owner = await find_server(server, records=records)
    found = await Messages(records).with_deliveries(owner, MessageId(message_id))
    if found is None:
        raise NotFound(f"the server {server} has no message {message_id}; it may have expired")
    return Answer(message_document(*found))
