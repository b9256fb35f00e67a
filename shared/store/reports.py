"""Reports that other hosts send about our domains: each by itself, and their sums by domain and day."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

from shared.domain.one_line import one_line
from shared.domain.reports.sums import Aggregate
from shared.ports import Absent, Item, Key, Put, Records, Update, Value
from shared.store.items import text
from shared.store.keys import report_key, report_partition, report_sums_key, report_sums_partition

KEPT = timedelta(days=400)
MAX_NAME = 100

Sums: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DaySums:
    """What one kind of report said of a domain's day, all reporters together."""

    day: date
    """UTC."""

    sums: Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one reporter said of a domain's day."""

    kind: Aggregate
    domain: str
    at: datetime
    """When its span of time begins; its UTC day is what it is listed under."""

    reporter: str
    report_id: str
    sums: Sums
    parts: Mapping[str, Sums]
    """Some of the sums by what they were seen of: IP addresses, or kinds of failure."""

    number: int = 0
    """Tells several of one id and domain apart: a TLS report has one for each policy."""


class Reports:
    """Reads and writes reports."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, report: Report, *, now: datetime) -> bool:
        """Keep a report and add it to the sums of its day; False if it was taken in before.

        Both are one write: twice is once.
        """
        key = report_key(report.domain, report.kind, report.at, _name(report))
        counts = {name: count for name, count in report.sums.items() if count}
        # A report with several policies is one report.
        counts |= {"reports": int(report.number == 0)}
        return await self._records.atomically(
            [
                Put(key, _to_item(report), now + KEPT, when=(Absent(),)),
                Update(report_sums_key(report.domain, report.kind, report.at), add=counts, expires_at=now + KEPT),
            ]
        )

    async def days(self, domain: str, kind: Aggregate, *, since: date, until: date) -> Sequence[DaySums]:
        """Return the days of a domain in that span, both ends included, by day."""
        found = self._items(report_sums_partition(domain), kind, since, until)
        return [DaySums(_day(key), _sums(item)) async for key, item in found]

    async def each(
        self, domain: str, kind: Aggregate, *, since: date, until: date
    ) -> AsyncIterator[tuple[str, Sums, Mapping[str, Sums]]]:
        """Yield reporter, sums and parts of each report about these days, by day."""
        async for _, item in self._items(report_partition(domain), kind, since, until):
            yield text(item, "reporter"), _sums(item["sums"]), _parts(item["parts"])

    async def _items(
        self, partition: str, kind: Aggregate, since: date, until: date
    ) -> AsyncIterator[tuple[Key, Item]]:
        first, end = f"{kind}#{since:%Y%m%d}", f"{kind}#{until:%Y%m%d}$"
        cursor: str | None = None
        while True:
            # "$" is the text right after "#", which stands behind the day in a report's key.
            page = await self._records.query(partition, at_least=first, below=end, limit=100, cursor=cursor)
            for pair in page.items:
                yield pair
            cursor = page.cursor
            if cursor is None:
                return


def _to_item(report: Report) -> Item:
    return {
        "reporter": one_line(report.reporter, MAX_NAME),
        "sums": _counts(report.sums),
        "parts": {one_line(name, MAX_NAME): _counts(sums) for name, sums in report.parts.items()},
    }


def _counts(sums: Sums) -> dict[str, Value]:
    return {name: count for name, count in sums.items() if count}


def _name(report: Report) -> str:
    said = f"{report.reporter}\0{report.report_id}\0{report.number}"
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:32]


def _day(key: Key) -> date:
    return datetime.strptime(key.sort.split("#")[1], "%Y%m%d").replace(tzinfo=UTC).date()


def _sums(value: Value) -> Sums:
    return {name: n for name, n in value.items() if isinstance(n, int)} if isinstance(value, dict) else {}


def _parts(value: Value) -> Mapping[str, Sums]:
    return {name: _sums(each) for name, each in value.items()} if isinstance(value, dict) else {}
