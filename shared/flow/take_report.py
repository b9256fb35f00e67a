"""Take in the reports that come to the report address: DMARC aggregate (RFC 9990) and TLS (RFC 8460).

Nothing proves that a report is true, so its numbers inform and decide nothing.  Only
reports about domains that a tenant has are kept: otherwise anybody could fill the store.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.errors import InvalidValue
from shared.domain.reports.dmarc import DMARCReport, Source, read_dmarc
from shared.domain.reports.sums import SUMS, Aggregate
from shared.domain.reports.tls import TLSReport, read_tls
from shared.domain.reports.unpacking import unpacked_reports
from shared.flow.aside import Aside, in_thread
from shared.ports import Records
from shared.store.domains import Domains
from shared.store.reports import Report, Reports

log = logging.getLogger(__name__)

UNNAMED = "unnamed"
"""Failures of which the reporter does not say what they were."""

MAX_REPORTS = 10
"""In one mail; real ones have one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a mail with reports."""

    counted: int
    repeated: int
    strange: int
    """About domains that nobody here has."""


async def take_report(raw: bytes, *, records: Records, now: datetime, aside: Aside = in_thread) -> Taken:
    """Sum the reports of a mail.  Twice: the second time nothing is counted.

    Raises:
        InvalidValue: no report in it, or one too large or damaged.
        Unavailable: the mail may be taken in again.
    """
    # However small: packed, it may hold megabytes.
    found = await aside(_read, raw)
    counted = repeated = strange = 0
    for each, number in zip(found, _numbers(found), strict=True):
        if not await Domains(records).named(each.domain, limit=1):
            strange += 1
            continue
        new = await Reports(records).add(_kept(each, number), now=now)
        counted, repeated = counted + new, repeated + (not new)
    log.info("report_taken", extra={"counted": counted, "repeated": repeated, "strange": strange})
    return Taken(counted, repeated, strange)


def _read(raw: bytes) -> Sequence[DMARCReport | TLSReport]:
    found: list[DMARCReport | TLSReport] = []
    for number, plain in enumerate(unpacked_reports(raw)):
        if number == MAX_REPORTS:
            break
        found += read_tls(plain) if plain.lstrip()[:1] == b"{" else [read_dmarc(plain)]
    if not found:
        raise InvalidValue("the mail has no report in it")
    return found


def _numbers(found: Sequence[DMARCReport | TLSReport]) -> Sequence[int]:
    """Return for each report how many of its name came before it: one for each policy (RFC 8460 §4.4)."""
    before: Counter[tuple[str, str, str]] = Counter()
    numbers: list[int] = []
    for each in found:
        name = (each.reporter, each.report_id, each.domain)
        numbers.append(before[name])
        before[name] += 1
    return numbers


def _kept(found: DMARCReport | TLSReport, number: int) -> Report:
    if isinstance(found, DMARCReport):
        kind, sums = Aggregate.DMARC, _seen(found)
        parts = {each.address: _seen(each) for each in found.sources}
    else:
        kind, sums = Aggregate.TLS, {"successful": found.successful, "failed": found.failed}
        parts = {name or UNNAMED: {"failed": sessions} for name, sessions in found.failures}
    return Report(
        kind=kind,
        domain=found.domain,
        at=found.begins_at.astimezone(UTC),
        reporter=found.reporter,
        report_id=found.report_id,
        sums=sums,
        parts=parts,
        number=number,
    )


def _seen(of: DMARCReport | Source) -> Mapping[str, int]:
    return {name: getattr(of, name) for name in SUMS[Aggregate.DMARC]}
