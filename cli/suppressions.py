"""``edgepost suppression …``."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InOrganization, InServer, Reason, typer_of
from cli.printing import Answer
from cli.running import run

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TextIO

    from cli.wiring import Tools
    from shared.domain.suppression import Scope
    from shared.flow.suppress import Suppressing

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

    async def work(tools: "Tools") -> Answer:
        from cli.documents import suppression_document
        from shared.domain.suppression import Reason as Why
        from shared.flow.suppress import Cause, suppress

        scope, using = await _opened(server, organization, stream, tools)
        cause = Cause(reason=Why.MANUAL, detail=reason)
        now = tools.now()
        entry = await suppress(scope, address, cause, until=_until(expires, now), using=using, now=now)
        return Answer(suppression_document(entry))

    run(work, as_json=as_json)


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

    async def work(tools: "Tools") -> Answer:
        from cli.documents import suppression_document
        from shared.domain.suppression import Reason as Why
        from shared.flow.suppress import Cause, unsuppress

        scope, using = await _opened(server, organization, stream, tools)
        cause = Cause(reason=Why.MANUAL, detail=reason)
        return Answer(suppression_document(await unsuppress(scope, address, cause, using=using, now=tools.now())))

    run(work, as_json=as_json)


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

    async def work(tools: "Tools") -> Answer:
        from cli.documents import suppression_document
        from shared.domain.errors import NotFound

        scope, using = await _opened(server, organization, stream, tools)
        entry = await using.suppressions.get(scope, address)
        if entry is None:
            raise NotFound(f"{address} was never on the suppression list of this {scope.name}")
        return Answer(suppression_document(entry))

    run(work, as_json=as_json)


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

        scope, using = await _opened(server, organization, "", tools)
        shown: list[dict[str, object]] = []
        async for page in export_suppressions(scope, using=using, now=tools.now(), limit=min(limit, 500)):
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
        from shared.flow.suppression_files import MAX_FIELD, import_suppressions

        scope, using = await _opened(server, organization, stream, tools)
        with ExitStack() as opened:
            source = sys.stdin if str(file) == "-" else opened.enter_context(_readable(file))
            done = await import_suppressions(
                # A line without end must not be read whole before it is refused.
                iter(lambda: source.readline(MAX_FIELD + 1), ""),
                scope,
                source=f"import {tools.rng.getrandbits(32):08x}",
                using=using,
                now=tools.now(),
                progress=_progress("read"),
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
        scope, using = await _opened(server, organization, stream, tools)
        if str(output) == "-":
            await _write(scope, sys.stdout, as_json=as_json, using=using, now=tools.now())
            return Answer({}, streamed=True)
        with _writable(output) as file:
            written = await _write(scope, file, as_json=False, using=using, now=tools.now())
        return Answer({"written": written, "file": str(output)})

    run(work, as_json=as_json)


async def _write(scope: "Scope", file: "TextIO", *, as_json: bool, using: "Suppressing", now: "datetime") -> int:
    """Write page by page, so that a million entries need no more memory than one page."""
    import csv
    import json

    from cli.documents import suppression_row
    from shared.flow.suppression_files import COLUMNS, csv_row, export_suppressions

    table = csv.writer(file, lineterminator="\n")
    progress = _progress("written")
    written = 0
    if as_json:
        file.write('{"suppressions": [')
    else:
        table.writerow(COLUMNS)
    async for page in export_suppressions(scope, using=using, now=now):
        if as_json:
            file.writelines(
                f"{',' if written + at else ''}\n{json.dumps(suppression_row(e))}" for at, e in enumerate(page)
            )
        else:
            table.writerows(csv_row(each) for each in page)
        written += len(page)
        progress(written)
    if as_json:
        file.write("]}\n")
    return written


class _Progress:
    """Prints a count on standard error now and then, on a terminal only."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._told = 0

    def __call__(self, done: int) -> None:
        if done - self._told >= 10_000 and sys.stderr.isatty():
            self._told = done
            print(f"{done} {self._word}", file=sys.stderr)


def _progress(word: str) -> _Progress:
    return _Progress(word)


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


def _readable(file: Path) -> "TextIO":
    from shared.domain.errors import InvalidValue

    try:
        return file.open(encoding="utf-8", errors="replace", newline="")
    except OSError as exc:
        raise InvalidValue(f"cannot read {file}: {exc.strerror}") from exc


def _writable(file: Path) -> "TextIO":
    from shared.domain.errors import InvalidValue

    try:
        return file.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise InvalidValue(f"cannot write {file}: {exc.strerror}") from exc


async def _opened(server: str, organization: str, stream: str, tools: "Tools") -> "tuple[Scope, Suppressing]":
    """Return whose list is meant, and what changing it needs."""
    from shared.domain.errors import InvalidValue
    from shared.domain.suppression import Scope, checked_stream
    from shared.flow.organizations import find_organization
    from shared.flow.servers import find_server
    from shared.flow.suppress import Suppressing

    using = Suppressing.over(tools.stores, tools.settings)
    records = tools.stores.records
    if bool(server) == bool(organization):
        raise InvalidValue("say whose list: --server PERMALINK or --organization PERMALINK")
    if server:
        found = await find_server(server, records=records)
        return Scope(found.id, stream=checked_stream(stream)), using
    if stream:
        raise InvalidValue("a stream belongs to a server: give --server")
    return Scope((await find_organization(organization, records=records)).id, organization=True), using
