"""Accepting with empty suppression lists and with very long ones, in turns; and exporting and importing them.

BENCH_SUPPRESSED sets how many "very long" is.
"""

import asyncio
import random
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import measure
from shared.adapters.embedded.opening import close_stores, open_embedded
from shared.domain import suppression
from shared.domain.message import Origin, Via
from shared.domain.submission import Submission
from shared.domain.suppression import Change, Reason, Suppression, new_suppression
from shared.domain.tenancy import Credential, CredentialType, DKIMAlgorithm, Scope, Tenant
from shared.flow.accept import Acceptance, accept
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.domains import NewDomain, add_domain
from shared.flow.organizations import create_organization
from shared.flow.servers import NewServer, create_server
from shared.flow.suppress import Suppressing
from shared.flow.suppression_files import csv_row, export_suppressions
from shared.settings import Settings
from shared.store.suppressions import Suppressions

FILL = 1000
BLOCK = 100
"""Messages accepted by one side before the other one's turn."""

RAW = (
    b"From: App <app@example.com>\r\nTo: a@dest.test\r\nSubject: Hello\r\n\r\n"
    + b"Lorem ipsum dolor sit amet\r\n" * 150
)


@dataclass(slots=True)
class Side:
    """One installation."""

    using: Acceptance
    tenant: Tenant
    credential: Credential
    times_ms: list[float]

    async def accept(self, count: int, rng: random.Random) -> None:
        """Accept messages, one after the other, and note what each took."""
        for _ in range(count):
            submission = Submission(
                tenant=self.tenant,
                credential=self.credential,
                mail_from="app@example.com",
                recipients=(f"user{rng.randrange(10**9)}@dest.test",),
                raw=RAW,
                origin=Origin(Via.HTTP, "192.0.2.7"),
            )
            started = time.perf_counter()
            await accept(submission, using=self.using, now=_now())
            self.times_ms.append((time.perf_counter() - started) * 1000)


def _now() -> datetime:
    return datetime.now(UTC)


async def _side(home: Path) -> Side:
    """Make an installation with one server and a domain that may send."""
    shutil.rmtree(home, ignore_errors=True)
    settings = Settings(data_dir=home, accepted_events="never")
    stores, rng = open_embedded(settings).stores, random.Random(1)
    records, now = stores.records, _now()
    organization = await create_organization("Acme", records=records, rng=rng, now=now)
    server = await create_server(NewServer(name="Main"), organization=organization, records=records, rng=rng, now=now)
    wanted = NewDomain(name="example.com", algorithms=(DKIMAlgorithm.ED25519,), scope=Scope.ADMIN, trusted=True)
    await add_domain(wanted, owner=server, records=records, keyring=stores.keyring, rng=rng, now=now)
    wanted_key = NewCredential(type=CredentialType.API, name="app")
    issued = await create_credential(wanted_key, server=server, records=records, rng=rng, now=now)
    using = Acceptance.over(stores, settings, clock=_now, rng=rng)
    return Side(using, Tenant(server, organization), issued.credential, [])


def _entry(scope: suppression.Scope, number: int, now: datetime) -> Suppression:
    change = Change(now, added=True, reason=Reason.IMPORT, source="bench", detail="")
    return new_suppression(scope, f"user{number * 997}@dest.test", change, until=None)


async def _fill(side: Side, count: int) -> float:
    """Put addresses on the server's list; return the seconds."""
    suppressions, scope, now = Suppressions(side.using.stores.records), suppression.Scope(side.tenant.server.id), _now()
    started = time.perf_counter()
    for at in range(0, count, FILL):
        await suppressions.put_many([_entry(scope, number, now) for number in range(at, min(count, at + FILL))])
    return time.perf_counter() - started


async def _export(side: Side) -> tuple[int, float, float]:
    """Return how many entries were exported, the seconds, and by how many megabytes the process grew for it."""
    using = Suppressing.over(side.using.stores, side.using.settings)
    count, started, before = 0, time.perf_counter(), measure.resident_mb("self")
    most = before
    async for entries in export_suppressions(suppression.Scope(side.tenant.server.id), using=using, now=_now()):
        count += len([csv_row(each) for each in entries])
        most = max(most, measure.resident_mb("self"))
    return count, time.perf_counter() - started, most - before


async def _run(directory: Path) -> str:
    none, many = await _side(directory / "suppressed-none"), await _side(directory / "suppressed-many")
    filled_s = await _fill(many, measure.SUPPRESSED)
    rng = random.Random(2)
    for side in (none, many):
        await side.accept(BLOCK, rng)
        side.times_ms.clear()
    ratios: dict[int, list[float]] = {50: [], 99: []}
    for number in range(measure.ROUNDS * measure.MESSAGES // BLOCK):
        for side in (none, many) if number % 2 else (many, none):
            await side.accept(BLOCK, rng)
    rows = []
    for name, side in (("0", none), (f"{measure.SUPPRESSED:,}", many)):
        values = [measure.percentile(side.times_ms, percent) for percent in ratios]
        of_none = [
            value / measure.percentile(none.times_ms, percent) for value, percent in zip(values, ratios, strict=True)
        ]
        rows.append([name, *[f"{value:.2f}" for value in values], *[f"{ratio:.2f}" for ratio in of_none]])
    exported, seconds, grown = await _export(many)
    close_stores()
    shutil.rmtree(directory / "suppressed-many", ignore_errors=True)
    table = measure.table(["addresses suppressed", "accept p50 ms", "p99 ms", "p50 ×", "p99 ×"], rows)
    return (
        f"{table}\n\nPutting them on the list took {filled_s:,.0f} s, exporting {exported:,} took {seconds:,.0f} s"
        f" and {grown:,.0f} MB more of memory, SQLite's page cache (16 MB) included."
    )


def run(directory: Path) -> str:
    """Measure and return the table."""
    return asyncio.run(_run(directory))
