"""Read what DMARC and TLS reports said of a domain: in all, and by day, reporter, source or failure.

The command line and the management API both come through here.  Nothing proves a
report, so the numbers inform and decide nothing.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from shared.domain.errors import InvalidValue
from shared.domain.reports.sums import ROWS, SUMS, Aggregate, By
from shared.domain.tenancy import Domain
from shared.ports import Records
from shared.store.reports import KEPT, Reports

OTHERS = "others"
"""The row of all whose names are not told apart: a report lists its largest sources only."""

UNNAMED_REPORTER = "unnamed"


Tally: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one answer reads and holds: strangers may send any number of reports."""

    reports: int = 20_000
    names: int = 10_000
    """Addresses, reporters or failures that are told apart."""


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class Summary:
    """What was reported of a domain in a span of days."""

    kind: Aggregate
    domain: str
    since: date
    until: date
    """UTC, the last day."""

    reports: int
    total: Tally
    """By the names in ``SUMS``."""

    rows: Sequence[tuple[str, Tally]]
    """By day in order of time, else the largest first."""

    complete: bool
    """False if there were more reports than one answer reads."""


async def summarize(
    kind: Aggregate,
    domain: Domain,
    *,
    by: By,
    since: datetime,
    until: datetime,
    records: Records,
    bounds: Bounds = USUAL,
) -> Summary:
    """Sum up the reports about a domain, of whole UTC days.

    Args:
        kind: DMARC or TLS.
        domain: verified: whoever only claims a name must not learn who sends in it.
        by: what each row is.
        since: in the first day.
        until: in the last day.
        records: where they lie.
        bounds: how much is read.

    Raises:
        InvalidValue: the domain is not verified, the span ends before it begins, or rows that this kind has not.
    """
    if domain.verified_at is None:
        raise InvalidValue(f"{domain.name} is not verified yet: edgepost domain verify {domain.name}")
    if by not in ROWS[kind]:
        raise InvalidValue(f"{kind.value} reports are summed by {', '.join(ROWS[kind])}, not by {by.value}")
    first, last = since.date(), until.date()
    if last < first:
        raise InvalidValue(f"the span ends before it begins: {first} is after {last}")
    # Nothing older is kept; a last day of long ago has no such day before it.
    first = max(first, last - min(KEPT, last - date.min))
    days = await Reports(records).days(domain.name, kind, since=first, until=last)
    total: Counter[str] = Counter()
    for each in days:
        total.update(each.sums)
    rows: Sequence[tuple[str, Tally]] = [(each.day.isoformat(), _tally(kind, each.sums)) for each in days]
    complete = True
    if by is not By.DAY:
        found = Reports(records).each(domain.name, kind, since=first, until=last)
        summed, complete = await _summed(found, by, bounds)
        rows = _rows(kind, by, total, summed, complete=complete)
    return Summary(kind, domain.name, first, last, total["reports"], _tally(kind, total), rows, complete)


async def _summed(
    found: AsyncIterator[tuple[str, Tally, Mapping[str, Tally]]], by: By, bounds: Bounds
) -> tuple[dict[str, Counter[str]], bool]:
    """Return the sums of each name, and whether all reports were read."""
    summed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    read = 0
    async for reporter, sums, parts in found:
        read += 1
        if read > bounds.reports:
            return summed, False
        for part, counts in ({reporter or UNNAMED_REPORTER: sums} if by is By.REPORTER else parts).items():
            summed[part if part in summed or len(summed) < bounds.names else OTHERS].update(counts)
    return summed, True


def _rows(
    kind: Aggregate, by: By, total: Tally, summed: dict[str, Counter[str]], *, complete: bool
) -> Sequence[tuple[str, Tally]]:
    """Return the largest first, and the rest of a report, which lists its largest sources only, at the end."""
    if by is By.SOURCE and complete and (left := _left(kind, total, summed.values())):
        summed.setdefault(OTHERS, Counter()).update(left)
    # What has passed is among the messages; sessions either succeed or fail.
    sizes = SUMS[kind][:1] if kind is Aggregate.DMARC else SUMS[kind]
    rows = sorted(summed.items(), key=lambda row: (row[0] == OTHERS, -sum(row[1][each] for each in sizes), row[0]))
    if by is By.FAILURE:
        return [(name, {"failed": counts["failed"]}) for name, counts in rows]
    return [(name, _tally(kind, counts)) for name, counts in rows]


def _left(kind: Aggregate, total: Tally, parts: Iterable[Tally]) -> Counter[str]:
    """Return what the reports count in all and in none of their parts."""
    counted: Counter[str] = Counter()
    for counts in parts:
        counted.update(counts)
    return Counter({name: total.get(name, 0) for name in SUMS[kind]}) - counted


def _tally(kind: Aggregate, sums: Tally) -> Tally:
    return {name: sums.get(name, 0) for name in SUMS[kind]}
