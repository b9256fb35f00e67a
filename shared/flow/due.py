"""The every-minute stage: does what has become due, and never skips a minute.

The cursor is the oldest unfinished minute.  Whatever is due is done first and
removed then, so a crash between the two does it twice, which every consumer of
it stands.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from shared.domain.errors import WrongState
from shared.domain.ids import MessageId, ServerId
from shared.flow.hold import expire
from shared.flow.queues import work_queue
from shared.flow.settle import Settling
from shared.ports import Outgoing
from shared.store.directory import Directory
from shared.store.keys import minute_of
from shared.store.schedule import DueEntry

log = logging.getLogger(__name__)

LAG_MINUTES = 2
"""Minutes the cursor stays behind, for clocks that differ a little between machines."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the stage needs."""

    settling: Settling
    directory: Directory


async def do_due(*, using: Scheduling, now: datetime) -> int:
    """Do everything that is due by now; return how many entries that were.

    Twice, or twice at once: entries may be done twice, none is left out.
    """
    schedule = using.settling.schedule
    this_minute = minute_of(now)
    first = await schedule.start(this_minute - LAG_MINUTES)
    done = 0
    for minute in range(first, this_minute + 1):
        async for entry in schedule.due(minute, now):
            await _do(entry, using=using, now=now)
            await schedule.remove(entry)
            done += 1
        if minute < this_minute - LAG_MINUTES:
            await schedule.advance(minute + 1)
    return done


async def _do(entry: DueEntry, *, using: Scheduling, now: datetime) -> None:
    item = cast("dict[str, Any]", entry.item)  # written by shared.flow.settle only
    match item["do"]:
        case "send_job":
            queue = work_queue(using.settling.stores, item["pool"])
            await queue.send([Outgoing(item["job"], group=item["group"])])
        case "expire_hold":
            tenant = await using.directory.tenant(ServerId(item["server"]))
            if tenant is None:
                return
            try:
                message_id = MessageId(item["message"])
                await expire(tenant.server, message_id, item["attempt"], using=using.settling, now=now)
            except WrongState:
                log.info("hold_expiry_overtaken", extra={"message_id": item["message"], "server_id": item["server"]})
        case other:
            log.error("schedule_entry_unknown", extra={"kind": other})
