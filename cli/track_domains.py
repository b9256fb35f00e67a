"""``edgepost track-domain …``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InServer, Yes, typer_of
from cli.printing import Answer
from cli.running import run, typed_name

if TYPE_CHECKING:
    from cli.printing import Document
    from cli.wiring import Tools

commands = typer_of("Tracking domains: the customer's own names that links and pixels carry.")

HostName = Annotated[str, typer.Argument(help="The host name, such as track.example.com.", metavar="NAME")]


class Switch(StrEnum):
    """Whether something is done."""

    ON = "on"
    OFF = "off"


@commands.command()
def add(
    name: HostName,
    *,
    server: InServer,
    domain: Annotated[
        str, typer.Option("--domain", help="Only for mail of this sending domain.", metavar="DOMAIN")
    ] = "",
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Use it without looking at the DNS; a word of the admin.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Add a tracking domain to a server; prints what to publish."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import track_domain_document
        from shared.domain.tenancy import Scope
        from shared.flow.servers import find_server
        from shared.flow.track_domains import NewTrackDomain, add_track_domain

        # Whoever may run this command has the store in their hands.
        wanted = NewTrackDomain(name=name, scope=Scope.ADMIN, sending_domain=domain, trusted=trusted)
        added = await add_track_domain(
            wanted,
            server=await find_server(server, records=tools.stores.records),
            records=tools.stores.records,
            settings=tools.settings,
            now=tools.now(),
        )
        document = track_domain_document(added, tools.settings)
        return Answer(document, instead=_for_people(document))

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer, as_json: AsJSON = False) -> None:
    """List the tracking domains of a server."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import track_domain_document
        from shared.flow.servers import find_server
        from shared.flow.track_domains import list_track_domains

        records = tools.stores.records
        found = await list_track_domains(await find_server(server, records=records), records=records)
        rows = [track_domain_document(each, tools.settings) for each in found]
        for row in rows:
            del row["records"]
        return Answer({"track_domains": rows})

    run(work, as_json=as_json)


@commands.command()
def show(name: HostName, as_json: AsJSON = False) -> None:
    """Show a tracking domain and the record to publish for it."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import track_domain_document
        from shared.flow.track_domains import find_track_domain

        found = await find_track_domain(name, records=tools.stores.records)
        document = track_domain_document(found, tools.settings)
        return Answer(document, instead=_for_people(document))

    run(work, as_json=as_json)


@commands.command()
def verify(name: HostName, as_json: AsJSON = False) -> None:
    """Look for the CNAME record in the DNS; once it is there, links carry the name."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import track_domain_document
        from shared.flow.track_domains import find_track_domain, verify_track_domain

        records = tools.stores.records
        domain = await find_track_domain(name, records=records)
        found = await verify_track_domain(
            domain, records=records, resolver=tools.resolver(), settings=tools.settings, now=tools.now()
        )
        document = {"domain": domain.name, "verified": found.verified, "explanation": found.explanation}
        if as_json:
            document |= {"records": track_domain_document(found.domain, tools.settings)["records"]}
        return Answer(document, failed=not found.verified)

    run(work, as_json=as_json)


@commands.command()
def check(name: HostName, as_json: AsJSON = False) -> None:
    """Look at the record of a verified tracking domain now; new mail does not carry a name whose record is wrong."""

    async def work(tools: "Tools") -> Answer:
        from shared.domain.dns import LookupFailed
        from shared.domain.errors import InvalidValue
        from shared.flow.check_domain import Checking
        from shared.flow.check_track_domain import check_track_domain
        from shared.flow.track_domains import find_track_domain

        domain = await find_track_domain(name, records=tools.stores.records)
        if domain.verified_at is None:
            raise InvalidValue(f"{domain.name} is not verified yet: edgepost track-domain verify {domain.name}")
        using = Checking(tools.stores.records, tools.stores.events, tools.settings)
        checked = await check_track_domain(domain, resolver=tools.resolver(), using=using, now=tools.now())
        now = checked or await find_track_domain(name, records=tools.stores.records)
        if now.check is None or now.check == domain.check:
            raise LookupFailed(f"the DNS gave no answer about {domain.name}; what is known of it stays as it was")
        document = {
            "domain": now.name,
            "dns_status": now.check.status.value,
            "dns_error": now.check.error or None,
            "checked_at": now.check.at.isoformat(timespec="milliseconds"),
            "used": now.usable,
        }
        return Answer(document, failed=bool(now.check.error))

    run(work, as_json=as_json)


@commands.command()
def update(
    name: HostName,
    *,
    opens: Annotated[Switch | None, typer.Option("--opens", help="Count opens.")] = None,
    clicks: Annotated[Switch | None, typer.Option("--clicks", help="Count clicks.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Host whose links stay as they are; again for more.", metavar="HOST"),
    ] = None,
    exclude_none: Annotated[bool, typer.Option("--exclude-none", help="Exclude no host any more.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Change what is given; the excluded hosts are replaced as a whole."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import track_domain_document
        from shared.flow.track_domains import find_track_domain, update_track_domain

        records = tools.stores.records
        changed = await update_track_domain(
            await find_track_domain(name, records=records),
            opens=None if opens is None else opens is Switch.ON,
            clicks=None if clicks is None else clicks is Switch.ON,
            excluded=exclude or ([] if exclude_none else None),
            records=records,
        )
        return Answer(track_domain_document(changed, tools.settings))

    run(work, as_json=as_json)


@commands.command()
def delete(name: HostName, yes: Yes = False, as_json: AsJSON = False) -> None:
    """Delete a tracking domain: links of mail that was sent lead nowhere from then on."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.track_domains import delete_track_domain, find_track_domain

        records = tools.stores.records
        domain = await find_track_domain(name, records=records)
        typed = typed_name(domain.name, yes=yes, as_json=as_json)
        await delete_track_domain(domain, typed_name=typed, records=records)
        return Answer({"deleted": domain.name})

    run(work, as_json=as_json)


def _for_people(document: "Document") -> str:
    """Return the record on lines of its own: it is there to be copied."""
    name = document["domain"]
    state = f"is not verified; once the record is there: edgepost track-domain verify {name}"
    if document["verified_at"]:
        broken = document["dns_error"] and not document["trusted"]
        state = f"is not used in new mail: {document['dns_error']}" if broken else "is used in links"
    switches = ", ".join(f"{each} {'on' if document[each] else 'off'}" for each in ("opens", "clicks"))
    lines = [f"{name} {state} ({switches})", "", "Publish:"]
    for record in document["records"]:
        lines += ["", f"{record['type']}  {record['name']}", f"  {record['value']}", f"  ({record['purpose']})"]
    return "\n".join(lines)
