"""The every-minute stage: does what has become due, and never skips a minute.

The cursor is the oldest unfinished minute.  Whatever is due is done first and
removed then, so a crash between the two does it twice, which every consumer of
it stands.  An entry that cannot be done is put off, so that it holds up nobody.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain.errors import NotFound, WrongState
from shared.domain.ids import MessageId, ServerId
from shared.flow.due_checks import DueChecks, Run
from shared.flow.hold import expire
from shared.flow.queues import work_queue
from shared.flow.settle import Settling
from shared.ports import Outgoing, Stores
from shared.store.directory import Directory
from shared.store.keys import minute_of
from shared.store.schedule import DueEntry

log = logging.getLogger(__name__)

LAG_MINUTES = 2
"""Minutes the cursor stays behind, for clocks that differ a little between machines."""

PUT_OFF = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the stage needs."""

    settling: Settling
    directory: Directory
    checks: DueChecks | None = None
    """Looks at the DNS; None: entries that ask for it wait."""


async def do_due(*, using: Scheduling, now: datetime) -> int:
    """Do everything that is due by now; return how many entries were done or put off.

    Twice, or twice at once: entries may be done twice, none is left out.

    Raises:
        StorageUnavailable: the rest is done by the next call.
    """
    schedule = using.settling.schedule
    this_minute = minute_of(now)
    first = await schedule.start(this_minute - LAG_MINUTES)
    checks = using.checks.begin() if using.checks else None
    done = 0
    for minute in range(first, this_minute + 1):
        async for page in schedule.due(minute, now):
            await _do(page, checks, using=using, now=now)
            done += len(page)
        if minute < this_minute - LAG_MINUTES:
            await schedule.advance(minute + 1)
    return done


async def _do(page: Sequence[DueEntry], checks: Run | None, *, using: Scheduling, now: datetime) -> None:
    """Do a page of entries: their jobs together, mail before anything else, then remove them all."""
    settling = using.settling
    jobs: defaultdict[str, list[Outgoing]] = defaultdict(list)
    parcels: list[Outgoing] = []
    inbound: list[Outgoing] = []
    domains: list[DueEntry] = []
    for entry in page:
        item: Mapping[str, Any] = entry.item  # written by shared.flow.settle, notify, plan_check and check_track_domain
        match item["do"]:
            case "send_job" if item["pool"] in settling.stores.work:
                jobs[item["pool"]].append(Outgoing(item["job"], group=item["group"]))
            case "send_inbound":
                inbound.append(Outgoing(item["job"], group=item["group"]))
            case "send_parcel":
                parcels.append(Outgoing(item["parcel"], group=item["group"]))
            case "expire_hold":
                await _expire_hold(item, using=using, now=now)
            case "check_domain" | "check_track_domain" if checks:
                domains.append(entry)
            case other:
                # Of a newer version, or of a pool that is not configured: it may be possible later.
                log.error("schedule_entry_put_off", extra={"kind": other, "delay_s": PUT_OFF.total_seconds()})
                await settling.schedule.put_off(entry, now + PUT_OFF)
    await _hand_out(jobs, inbound, parcels, settling.stores)
    if checks:
        for entry in await checks.do(domains, now):
            await settling.schedule.put_off(entry, now + PUT_OFF)
    await asyncio.gather(*(settling.schedule.remove(entry) for entry in page))


async def _hand_out(
    jobs: Mapping[str, Sequence[Outgoing]], inbound: Sequence[Outgoing], parcels: Sequence[Outgoing], stores: Stores
) -> None:
    """Put what is due on its queues, mail before webhooks."""
    for pool, some in jobs.items():
        await work_queue(stores, pool).send(some)
    if inbound:
        await stores.inbound.send(inbound)
    if parcels:
        await stores.webhooks.send(parcels)


async def _expire_hold(item: Mapping[str, Any], *, using: Scheduling, now: datetime) -> None:
    tenant = await using.directory.tenant(ServerId(item["server"]))
    if tenant is None:
        return
    message_id = MessageId(item["message"])
    try:
        await expire(tenant.server, message_id, item["attempt"], using=using.settling, now=now)
    except (WrongState, NotFound):
        log.info("hold_expiry_overtaken", extra={"message_id": message_id, "server_id": tenant.server.id})
