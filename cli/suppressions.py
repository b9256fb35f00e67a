"""``edgepost suppression …``."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InOrganization, InServer, Reason, typer_of
from cli.printing import Answer
from cli.running import run
from cli.suppression_lists import List, Whose, list_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from cli.wiring import Tools
    from shared.domain.suppression import Suppression
    from shared.flow.suppress import Cause

commands = typer_of("Suppression lists: addresses that get no mail, of a server, a stream or an organization.")

Address = Annotated[str, typer.Argument(help="The address.", metavar="ADDRESS")]
Stream = Annotated[str, typer.Option("--stream", help="Only mail with this tag.", metavar="TAG")]
File = Annotated[Path, typer.Argument(help="CSV file; - is standard input.", metavar="FILE", allow_dash=True)]


@commands.command()
def add(
    address: Address,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    stream: Stream = "",
    reason: Reason = "",
    expires: Annotated[str, typer.Option(help="How long, such as 30d or 12h; for ever if not given.")] = "",
    as_json: AsJSON = False,
) -> None:
    """Hold all mail to an address from now on."""

    async def change(on: List) -> "Suppression":
        from shared.flow.suppress import suppress

        until = _until(expires, on.now)
        return await suppress(on.scope, address, _by_hand(reason), until=until, using=on.using, now=on.now)

    _show_entry(change, Whose(server, organization, stream), as_json=as_json)


@commands.command()
def remove(
    address: Address,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    stream: Stream = "",
    reason: Reason = "",
    as_json: AsJSON = False,
) -> None:
    """Take an address off a list; mail that was held for it stays held until somebody releases it."""

    async def change(on: List) -> "Suppression":
        from shared.flow.suppress import unsuppress

        return await unsuppress(on.scope, address, _by_hand(reason), using=on.using, now=on.now)

    _show_entry(change, Whose(server, organization, stream), as_json=as_json)


@commands.command()
def show(
    address: Address,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    stream: Stream = "",
    as_json: AsJSON = False,
) -> None:
    """Show why an address is on a list, and its history."""

    async def look(on: List) -> "Suppression":
        from shared.domain.errors import NotFound

        entry = await on.using.suppressions.get(on.scope, address)
        if entry is None:
            raise NotFound(f"{address} was never on the suppression list of this {on.scope.name}")
        return entry

    _show_entry(look, Whose(server, organization, stream), as_json=as_json)


@commands.command("list")
def list_some(
    *,
    server: InServer = "",
    organization: InOrganization = "",
    limit: Annotated[int, typer.Option(help="At most so many; export gives all.", min=1, max=10_000)] = 100,
    as_json: AsJSON = False,
) -> None:
    """List addresses of a server, of all its streams, or of an organization."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import suppression_row
        from shared.flow.suppression_files import export_suppressions

        on = await list_of(Whose(server, organization), tools)
        shown: list[dict[str, object]] = []
        async for page in export_suppressions(on.scope, using=on.using, now=on.now, limit=min(limit, 500)):
            shown += [suppression_row(each) for each in page]
            if len(shown) >= limit:
                break
        return Answer({"suppressions": shown[:limit]})

    run(work, as_json=as_json)


@commands.command("import")
def import_file(
    file: File,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    stream: Stream = "",
    as_json: AsJSON = False,
) -> None:
    """Put the addresses of a CSV file on a list; what is there already stays as it is."""

    async def work(tools: "Tools") -> Answer:
        from cli.suppression_files import Progress, readable
        from shared.flow.suppression_files import MAX_FIELD, import_suppressions

        on = await list_of(Whose(server, organization, stream), tools)
        with ExitStack() as opened:
            source = sys.stdin if str(file) == "-" else opened.enter_context(readable(file))
            done = await import_suppressions(
                # A line without end must not be read whole before it is refused.
                iter(lambda: source.readline(MAX_FIELD + 1), ""),
                on.scope,
                source=f"import {tools.rng.getrandbits(32):08x}",
                using=on.using,
                now=on.now,
                progress=Progress("read"),
            )
        document = {"added": done.added, "there": done.there, "bad": done.bad, "problems": list(done.problems)}
        return Answer(document, failed=bool(done.bad))

    run(work, as_json=as_json)


@commands.command()
def export(
    *,
    server: InServer = "",
    organization: InOrganization = "",
    stream: Stream = "",
    output: Annotated[Path, typer.Option(help="File to write; - is standard output.", allow_dash=True)] = Path("-"),
    as_json: AsJSON = False,
) -> None:
    """Write a list as CSV, which `import` reads; with --json as a document, or what was written to the file."""

    async def work(tools: "Tools") -> Answer:
        from cli.suppression_files import writable, write_list

        on = await list_of(Whose(server, organization, stream), tools)
        if str(output) == "-":
            await write_list(on, sys.stdout, as_json=as_json)
            return Answer({}, streamed=True)
        with writable(output) as file:
            written = await write_list(on, file, as_json=False)
        return Answer({"written": written, "file": str(output)})

    run(work, as_json=as_json)


def _until(expires: str, now: "datetime") -> "datetime | None":
    from datetime import timedelta

    from shared.domain.errors import InvalidValue
    from shared.setting_values import WrongValue, span

    if not expires:
        return None
    try:
        return now + span(timedelta(minutes=1), timedelta(days=36500))(expires)
    except WrongValue as exc:
        raise InvalidValue(f"--expires {exc}") from exc


def _by_hand(reason: str) -> "Cause":
    from shared.domain.suppression import Reason as Why
    from shared.flow.suppress import Cause

    return Cause(reason=Why.MANUAL, detail=reason)


def _show_entry(work: "Callable[[List], Awaitable[Suppression]]", whose: Whose, *, as_json: bool) -> None:
    """Do the work on somebody's list and show the entry that it returns."""

    async def whole(tools: "Tools") -> Answer:
        from cli.documents import suppression_document

        return Answer(suppression_document(await work(await list_of(whose, tools))))

    run(whole, as_json=as_json)
