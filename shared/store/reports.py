"""Sums of the reports that other hosts send about our domains, by domain and day."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.ports import Absent, Item, Put, Records, Update
from shared.store.keys import report_key, report_sums_key, report_sums_partition

KEPT = timedelta(days=400)
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class DaySums:
    """What one kind of report said of a domain's day, all reporters together."""

    kind: str
    day: str
    """YYYYMMDD, UTC."""

    sums: Mapping[str, int]


class Reports:
    """Reads and writes sums."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(
        self,
        kind: str,
        *,
        reporter: str,
        report_id: str,
        domain: str,
        at: datetime,
        sums: Mapping[str, int],
        now: datetime,
    ) -> bool:
        """Add a report to the sums of its day; False if it was taken in before.

        The note that it was, and its sums, are one write: twice is once.
        """
        name = hashlib.sha256(f"{reporter}\0{report_id}\0{domain}".encode("utf-8", "replace")).hexdigest()
        seen: Item = {"domain": domain, "reporter": reporter[:MAX_NAME]}
        counts = {key: count for key, count in sums.items() if count} | {"reports": 1}
        return await self._records.atomically(
            [
                Put(report_key(kind, name), seen, now + KEPT, when=(Absent(),)),
                Update(report_sums_key(domain, kind, at), add=counts, expires_at=now + KEPT),
            ]
        )

    async def of(self, domain: str, kind: str, *, limit: int = 31) -> Sequence[DaySums]:
        """Return the latest days of a domain, newest first."""
        page = await self._records.query(
            report_sums_partition(domain), at_least=f"{kind}#", below=f"{kind}$", newest_first=True, limit=limit
        )
        return [
            DaySums(kind, key.sort.partition("#")[2], {name: n for name, n in item.items() if isinstance(n, int)})
            for key, item in page.items
        ]
