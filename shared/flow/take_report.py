"""Take in the reports that come to the report address: DMARC aggregate (RFC 9990) and TLS (RFC 8460).

Nothing proves that a report is true, so its numbers inform and decide nothing.  Only
reports about domains that a tenant has are kept: otherwise anybody could fill the store.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import InvalidValue
from shared.domain.reports.dmarc import DMARCReport, read_dmarc
from shared.domain.reports.tls import TLSReport, read_tls
from shared.domain.reports.unpacking import unpacked_reports
from shared.ports import Records
from shared.store.domains import Domains
from shared.store.reports import Reports

log = logging.getLogger(__name__)

DMARC = "dmarc"
TLS = "tls"
MAX_REPORTS = 10
"""In one mail; real ones have one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a mail with reports."""

    counted: int
    repeated: int
    strange: int
    """About domains that nobody here has."""


async def take_report(raw: bytes, *, records: Records, now: datetime) -> Taken:
    """Sum the reports of a mail.  Twice: the second time nothing is counted.

    Raises:
        InvalidValue: no report in it, or one too large or damaged.
        StorageUnavailable: the mail may be taken in again.
    """
    # Megabytes of XML or JSON: other work of the process goes on meanwhile.
    found = await asyncio.to_thread(_read, raw)
    counted = repeated = strange = 0
    for each in found:
        if not await Domains(records).named(each.domain, limit=1):
            strange += 1
            continue
        new = await Reports(records).add(
            DMARC if isinstance(each, DMARCReport) else TLS,
            reporter=each.reporter,
            report_id=each.report_id,
            domain=each.domain,
            at=each.begins_at,
            sums=_sums(each),
            now=now,
        )
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


def _sums(report: DMARCReport | TLSReport) -> Mapping[str, int]:
    if isinstance(report, DMARCReport):
        return {
            "messages": report.messages,
            "passed": report.passed,
            "dkim_passed": report.dkim_passed,
            "spf_passed": report.spf_passed,
            "quarantined": report.quarantined,
            "rejected": report.rejected,
        }
    return {"successful": report.successful, "failed": report.failed}
