"""Grow: a server that nears what one partition takes gets more of them, for the future.

A partition of DynamoDB takes 1,000 write units a second, whatever the table may
take (AWS: Amazon DynamoDB Developer Guide, "Partitions and data distribution").
Messages, events and log pages of a server are spread over ``Server.shards``.  The
list is only ever extended, so what lies under an older entry is found for ever.
"""

import logging
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue, NotFound
from shared.domain.tenancy import Server, Shards, shards_at
from shared.ports import Records
from shared.store.busy_servers import Busy, BusyServers
from shared.store.events import Events
from shared.store.servers import Servers

log = logging.getLogger(__name__)

PARTITION_TAKES = 800
"""Write units a second that one partition should have at most."""

WRITES_PER_EVENT = 3
"""Write units in the message's partition for each event: put, claim and settle."""

GROWS_AT = 0.6
GROWS_TO = 0.4
"""Load of a partition at which a server grows, and what is left of it then."""

STARTS_AFTER = timedelta(minutes=2)
"""Every process has seen the list by then: directories keep a server for five seconds."""

MOST_SHARDS = 128
MOST_ENTRIES = 100
SHORTEST_LOOK = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Growing:
    """What growing needs."""

    busy: BusyServers
    events: Events
    servers: Servers

    @classmethod
    def over(cls, records: Records) -> "Growing":
        """Return what growing needs over the records."""
        return cls(BusyServers(records), Events(records), Servers(records))


async def grow_busy(*, using: Growing, now: datetime) -> int:
    """Look at all busy servers and return how many were given more shards.

    Twice at once: a server may be given the same number twice, which changes nothing.
    """
    grown = 0
    async for each in using.busy.every():
        if now - each.looked_at < SHORTEST_LOOK:
            continue
        rate = await _events_per_second(each, using, now)
        server = await using.servers.get(each.server_id)
        if server is None or rate is None:
            continue
        wanted = shards_for(rate, present=_latest(server))
        if wanted > _latest(server) and await _extend(server, wanted, using.servers, now):
            log.info("server_grown", extra={"server_id": server.id, "shards": wanted, "events_per_second": round(rate)})
            grown += 1
    return grown


def shards_for(events_per_second: float, *, present: int) -> int:
    """Return how many shards a server should have at this rate; never fewer than it has."""
    writes = events_per_second * WRITES_PER_EVENT
    if writes <= GROWS_AT * PARTITION_TAKES * present:
        return present
    return min(max(present, math.ceil(writes / (GROWS_TO * PARTITION_TAKES))), MOST_SHARDS)


async def set_shards(permalink: str, count: int, *, records: Records, now: datetime) -> Server:
    """Give a server so many shards from ``STARTS_AFTER`` on; fewer than now are possible too.

    Raises:
        InvalidValue: the number is out of range, or was changed too often.
        NotFound: there is no such server.
    """
    if not 1 <= count <= MOST_SHARDS:
        raise InvalidValue(f"a server has between 1 and {MOST_SHARDS} shards")
    servers = Servers(records)
    server = await servers.by_permalink(permalink)
    if server is not None and count == _latest(server):
        return server
    if server is not None and len(server.shards) >= MOST_ENTRIES:
        raise InvalidValue("the number of shards was changed too often")
    changed = server and await _extend(server, count, servers, now)
    if changed is None:
        raise NotFound(f"there is no server with the permalink {permalink}")
    return changed


async def _events_per_second(busy: Busy, using: Growing, now: datetime) -> float | None:
    """Return the rate since the last look, as far as it lies in this hour; None if that is too short to tell."""
    counted = sum((await using.events.counted(busy.server_id, now, hour=now.hour)).values())
    hour = now.replace(minute=0, second=0, microsecond=0)
    same_hour = busy.looked_at >= hour
    since, before = (busy.looked_at, busy.counted) if same_hour else (hour, 0)
    if now - since < SHORTEST_LOOK:
        return None
    await using.busy.looked(busy.server_id, now, counted)
    return max(0, counted - before) / (now - since).total_seconds()


async def _extend(server: Server, count: int, servers: Servers, now: datetime) -> Server | None:
    if len(server.shards) >= MOST_ENTRIES:
        return None
    return await servers.set_shards(server, (*server.shards, Shards(now + STARTS_AFTER, count)))


def _latest(server: Server) -> int:
    """Return the number of shards the server has, or is about to have."""
    return server.shards[-1].count if server.shards else shards_at((), server.created_at)
