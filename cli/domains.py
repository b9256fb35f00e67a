"""``edgepost domain …``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InOrganization, InServer, Yes, typer_of
from cli.owners import owner_or_none
from cli.printing import Answer
from cli.running import run, typed_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.printing import Document
    from cli.wiring import Tools
    from shared.domain.tenancy import DKIMAlgorithm
    from shared.settings import Settings
    from shared.store.domains import Owner

commands = typer_of("Sending domains: their keys, the DNS records to publish, and whether these are there.")

DomainName = Annotated[str, typer.Argument(help="The domain, such as example.com.", metavar="NAME")]


class DKIMChoice(StrEnum):
    """Keys to make for a domain."""

    RSA = "rsa"
    ED25519 = "ed25519"
    BOTH = "both"


@commands.command()
def add(
    name: DomainName,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Send from it without looking at the DNS; a word of the admin.")
    ] = False,
    dkim: Annotated[
        DKIMChoice | None, typer.Option(case_sensitive=False, help="Keys to make; the settings say if not given.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Add a domain to a server, or to an organization for all its servers; prints what to publish."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import domain_document
        from shared.domain.tenancy import Scope
        from shared.flow.domains import NewDomain, add_domain
        from shared.flow.plan_check import check_wait

        # Whoever may run this command has the store in their hands.
        wanted = NewDomain(name=name, algorithms=_algorithms(dkim, tools.settings), scope=Scope.ADMIN, trusted=trusted)
        added = await add_domain(
            wanted,
            owner=await _owner(server, organization, tools),
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            rng=tools.rng,
            now=tools.now(),
            check_after=check_wait(tools.settings),
        )
        document = domain_document(added, tools.settings)
        return Answer(document, instead=_for_people(document, verified=added.verified_at is not None))

    run(work, as_json=as_json)


@commands.command("list")
def list_all(server: InServer = "", organization: InOrganization = "", as_json: AsJSON = False) -> None:
    """List the domains of a server, or those of an organization that all its servers share."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import domain_row
        from shared.flow.domains import list_domains
        from shared.store.paging import every

        owner = await _owner(server, organization, tools)
        found = every(lambda cursor: list_domains(owner, records=tools.stores.records, cursor=cursor))
        return Answer({"domains": [domain_row(each, owner) async for each in found]})

    run(work, as_json=as_json)


@commands.command()
def show(name: DomainName, server: InServer = "", organization: InOrganization = "", as_json: AsJSON = False) -> None:
    """Print every record that must be published for a domain."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import domain_document
        from shared.flow.domains import find_domain

        owner = await owner_or_none(server, organization, tools)
        found = await find_domain(name, owner=owner, records=tools.stores.records)
        document = domain_document(found, tools.settings)
        return Answer(document, instead=_for_people(document, verified=found.verified_at is not None))

    run(work, as_json=as_json)


@commands.command()
def verify(name: DomainName, server: InServer = "", organization: InOrganization = "", as_json: AsJSON = False) -> None:
    """Look for the ownership record in the DNS; once it is there, mail may be sent from the domain."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import domain_document
        from shared.flow.domains import find_domain
        from shared.flow.plan_check import check_wait
        from shared.flow.verify_domain import verify_domain

        owner = await owner_or_none(server, organization, tools)
        records = tools.stores.records
        domain = await find_domain(name, owner=owner, records=records)
        found = await verify_domain(
            domain,
            records=records,
            resolver=tools.resolver(),
            return_path_domain=tools.settings.return_path_domain,
            now=tools.now(),
            check_after=check_wait(tools.settings),
        )
        document = {
            "domain": domain.name,
            "verified": found.verified,
            "explanation": found.explanation,
            "own_return_path": found.domain.own_return_path,
        }
        if as_json:
            document |= {"records": domain_document(found.domain, tools.settings)["records"]}
        return Answer(document, failed=not found.verified)

    run(work, as_json=as_json)


@commands.command()
def check(name: DomainName, server: InServer = "", organization: InOrganization = "", as_json: AsJSON = False) -> None:
    """Look at all of a domain's DNS records now, and say which are missing or wrong."""

    async def work(tools: "Tools") -> Answer:
        from cli.documents import check_document
        from shared.domain.dns import LookupFailed
        from shared.flow.check_domain import Checking, check_domain
        from shared.flow.domains import find_domain

        owner = await owner_or_none(server, organization, tools)
        domain = await find_domain(name, owner=owner, records=tools.stores.records)
        using = Checking(tools.stores.records, tools.stores.events, tools.settings)
        checked = await check_domain(domain, resolver=tools.resolver(), using=using, now=tools.now())
        found = checked.domain.check
        if found is None or not checked.answered:
            raise LookupFailed(f"the DNS gave no answer about {domain.name}; what is known of it stays as it was")
        unknown = sorted(f"{record.value} {selector}".strip() for record, selector in checked.unknown)
        document = {"domain": domain.name, "verified": checked.domain.verified_at is not None}
        document |= check_document(found) | {"unknown": unknown}
        return Answer(document, instead=_checked_for_people(document), failed=not found.ok)

    run(work, as_json=as_json)


@commands.command()
def delete(
    name: DomainName,
    server: InServer = "",
    organization: InOrganization = "",
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """Delete a domain with its keys."""

    async def work(tools: "Tools") -> Answer:
        from shared.flow.domains import delete_domain, find_domain

        owner = await owner_or_none(server, organization, tools)
        records = tools.stores.records
        domain = await find_domain(name, owner=owner, records=records)
        typed = typed_name(domain.name, yes=yes, as_json=as_json)
        await delete_domain(domain, typed_name=typed, records=records)
        return Answer({"deleted": domain.name})

    run(work, as_json=as_json)


def _for_people(document: "Document", *, verified: bool) -> str:
    """Return the records one below the other: values are there to be copied, so none may be folded."""
    name = document["domain"]
    state = (
        "is verified" if verified else f"is not verified; once the first record is there: edgepost domain verify {name}"
    )
    lines = [f"{name} {state}", "", "Publish:"]
    for record in document["records"]:
        lines += ["", f"{record['type']}  {record['name']}", f"  {record['value']}", f"  ({record['purpose']})"]
    if "check" in document:
        lines += ["", f"Found in the DNS at {document['check']['checked_at']}:", "", *_findings(document["check"])]
    return "\n".join(lines)


def _checked_for_people(document: "Document") -> str:
    """Return one line for each record, with what to do below it."""
    lines = _findings(document)
    if document["unknown"]:
        lines.append(f"No answer just now, so what is said of these is older: {', '.join(document['unknown'])}")
    return "\n".join(lines)


def _findings(check: "Document") -> list[str]:
    lines: list[str] = []
    for record in ("spf", "dkim", "return_path", "mx"):
        found = check[record]
        lines.append(f"{record:12} {found['status'] if found else 'not known: the DNS gave no answer'}")
        if found and found["error"]:
            lines.append(f"             {found['error']}")
    return lines


def _algorithms(choice: DKIMChoice | None, settings: "Settings") -> "Sequence[DKIMAlgorithm]":
    from shared.domain.tenancy import DKIMAlgorithm

    match choice:
        case None:
            return [DKIMAlgorithm(each) for each in settings.dkim_algorithms]
        case DKIMChoice.BOTH:
            return list(DKIMAlgorithm)
        case _:
            return [DKIMAlgorithm(choice.value)]


async def _owner(server: str, organization: str, tools: "Tools") -> "Owner":
    from shared.domain.errors import InvalidValue

    owner = await owner_or_none(server, organization, tools)
    if owner is None:
        raise InvalidValue("say whose domain: --server PERMALINK or --organization PERMALINK")
    return owner
