"""``edgepost report …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJSON, InOrganization, InServer, typer_of
from cli.owners import owner_or_none
from cli.printing import Answer
from cli.running import run
from shared.domain.reports.sums import Aggregate, By

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.flow.read_reports import Summary

commands = typer_of("Reports that other hosts send about your domains; docs/dns.md says how to ask for them.")

DomainName = Annotated[str, typer.Argument(help="A verified domain.", metavar="DOMAIN")]
Since = Annotated[str, typer.Option("--since", help="First day: so long ago (30d), or a date (2026-03-01).")]
Until = Annotated[str, typer.Option("--until", help="Last day; today if not given.")]
AsCSV = Annotated[bool, typer.Option("--csv", help="Print the rows as CSV and nothing else.")]


@commands.command()
def dmarc(
    domain: DomainName,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    by: Annotated[
        By, typer.Option("--by", case_sensitive=False, help="What each row is: day, reporter or source.")
    ] = By.DAY,
    since: Since = "30d",
    until: Until = "",
    as_csv: AsCSV = False,
    as_json: AsJSON = False,
) -> None:
    """Show how much mail in a domain's name was seen, from where, and how much of it passed DMARC."""
    _show(Aggregate.DMARC, (domain, server, organization), by, (since, until), as_csv=as_csv, as_json=as_json)


@commands.command()
def tls(
    domain: DomainName,
    *,
    server: InServer = "",
    organization: InOrganization = "",
    by: Annotated[
        By, typer.Option("--by", case_sensitive=False, help="What each row is: day, reporter or failure.")
    ] = By.DAY,
    since: Since = "30d",
    until: Until = "",
    as_csv: AsCSV = False,
    as_json: AsJSON = False,
) -> None:
    """Show how often other hosts could reach a domain over TLS, and what went wrong if not."""
    _show(Aggregate.TLS, (domain, server, organization), by, (since, until), as_csv=as_csv, as_json=as_json)


def _show(
    kind: Aggregate, of: tuple[str, str, str], by: By, span: tuple[str, str], *, as_csv: bool, as_json: bool
) -> None:
    name, server, organization = of
    since, until = span

    async def work(tools: "Tools") -> Answer:
        from cli.documents import report_document
        from cli.moments import moment
        from shared.flow.domains import find_domain
        from shared.flow.read_reports import USUAL, summarize

        now, records = tools.now(), tools.stores.records
        owner = await owner_or_none(server, organization, tools)
        found = await summarize(
            kind,
            await find_domain(name, owner=owner, records=records),
            by=by,
            since=moment(since, now),
            until=moment(until, now) if until else now,
            records=records,
        )
        if as_csv and not as_json:
            _write_csv(found, by)
            if not found.complete:
                typer.echo(f"There are more than {USUAL.reports} reports: the rows are of those only.", err=True)
            return Answer({}, streamed=True)
        document = report_document(found, by)
        if not found.reports:
            return Answer(document, instead=_none_came(found, tools.settings.return_path_domain))
        return Answer(document)

    run(work, as_json=as_json)


def _write_csv(found: "Summary", by: By) -> None:
    import csv
    import sys

    from shared.domain.csv_cells import inert

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow([by.value, *found.total] if by is not By.FAILURE else [by.value, "failed"])
    table.writerows([inert(name), *counts.values()] for name, counts in found.rows)


def _none_came(found: "Summary", return_path_domain: str) -> str:
    """Say how to get reports, in place of an empty table."""
    if found.kind is Aggregate.DMARC:
        record = (
            f"_dmarc.{found.domain}  TXT  v=DMARC1; p=none; rua=mailto:dmarc@{return_path_domain}\n"
            "and the installation has this one, by which it agrees to get them (docs/dns.md):\n"
            f"  *._report._dmarc.{return_path_domain}  TXT  v=DMARC1"
        )
    else:
        record = f"_smtp._tls.{found.domain}  TXT  v=TLSRPTv1; rua=mailto:tlsrpt@{return_path_domain}"
    return (
        f"No reports about {found.domain} from {found.since} to {found.until}.\n"
        f"They come once a day to whom this record names (if you have one already, add the address to it):\n"
        f"  {record}"
    )
