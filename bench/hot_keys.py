"""Which partitions would be hot: 10,000 messages a second through the key functions, a second for each row.

hot_keys.py    prints the busiest partition of each kind

A trace is made of keys only, no storage: tenants by Zipf's law, one of them with half of the
traffic, its shards as ``shared.flow.grow`` gives them at its rate.  What a partition takes
is 1,000 write units and 3,000 read units a second (AWS: "Partitions and data distribution").
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from item_size import item_bytes, write_units  # noqa: E402  # the path comes first
from shared.domain.event import Event, EventKind  # noqa: E402
from shared.domain.ids import MessageId, OrganizationId, ServerId, draw_ids  # noqa: E402
from shared.domain.message import Direction  # noqa: E402
from shared.domain.tenancy import Mode, Server, Shards, shards_at  # noqa: E402
from shared.flow.grow import shards_for  # noqa: E402
from shared.store import keys  # noqa: E402
from shared.store.event_flushes import MAX_EVENTS  # noqa: E402
from shared.store.schedule import Entry  # noqa: E402

RATE = 10_000
TENANTS = 1_000
SECONDS = 2
BATCH = 500
"""Events of one run of the events function (template.yaml)."""

PROCESSES = 400
"""Containers of the API, nodes and runs of the events function at once; each keeps tenants for five seconds."""

SEEN_WITHIN_S = 5
DEFERRED = 0.2
"""Messages whose next attempt is a schedule entry: so much of all mail may wait for longer than 15 minutes."""

DAY = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass
class Load:
    """Units a second by partition."""

    writes: Counter[str]
    reads: Counter[str]

    def busiest(self, units: Counter[str]) -> dict[str, float]:
        """Return the units of the busiest partition of each kind."""
        found: defaultdict[str, float] = defaultdict(float)
        for partition, amount in units.items():
            kind = partition.partition("#")[0]
            found[kind] = max(found[kind], amount / SECONDS)
        return dict(found)


def tenants(*, grown: bool = True) -> Sequence[tuple[Server, float]]:
    """Return servers with the messages they send a second: half of all one, the others by Zipf's law.

    Args:
        grown: whether they have got the shards that they need.
    """
    harmonic = sum(1 / rank for rank in range(1, TENANTS))
    rates = [RATE / 2, *(RATE / 2 / harmonic / rank for rank in range(1, TENANTS))]
    return [(_server(number, rate if grown else 0), rate) for number, rate in enumerate(rates)]


def _server(number: int, rate: float) -> Server:
    return Server(
        id=ServerId(1000 + number),
        organization_id=OrganizationId(5000 + number),
        name="s",
        permalink=f"s{number}",
        token="abcdef",
        mode=Mode.LIVE,
        created_at=DAY - timedelta(days=9),
        shards=(Shards(DAY - timedelta(days=9), 1), Shards(DAY - timedelta(days=1), shards_for(rate, present=1))),
    )


def load(*, held: int | None = None, grown: bool = True, seed: int = 1) -> Load:
    """Return what a trace of ``SECONDS`` costs each partition.

    Args:
        held: rank of a tenant whose mail is all held, 0 is the largest; None: nobody's.
        grown: whether servers have the shards that they need.
        seed: of the trace.
    """
    rng = random.Random(seed)
    made = Load(Counter(), Counter())
    servers = tenants(grown=grown)
    weights = [rate for _, rate in servers]
    for second in range(SECONDS):
        now = DAY + timedelta(seconds=second)
        senders = rng.choices(range(len(servers)), weights, k=RATE)
        events = [_message(servers[rank][0], now, rng, made, held=rank == held) for rank in senders]
        for start in range(0, RATE, BATCH):
            _record(events[start : start + BATCH], {server.id: server for server, _ in servers}, rng, made)
        _read_tenants(servers, rng, made)
    return made


def _message(server: Server, now: datetime, rng: random.Random, made: Load, *, held: bool) -> Event:
    """Write what one message writes, and return its event."""
    at = now + timedelta(milliseconds=rng.randrange(1000))
    [message_id] = draw_ids(at, 1, rng)
    address = f"{rng.getrandbits(40):x}@dest.test"
    for owner, owner_id in (("s", server.id), ("o", server.organization_id)):
        made.reads[keys.suppression_key(owner, owner_id, address).partition] += 1
    # Put, claim, settle: one unit each (tests/unit/test_store_sizes.py).
    made.writes[keys.message_key(server, Direction.OUTGOING, message_id).partition] += 3
    if held:
        made.writes[keys.held_key(server, message_id).partition] += 1
        _schedule(server, message_id, at + timedelta(days=7), "hold", made)
    elif rng.random() < DEFERRED:
        # Retries of one attempt are spread by a tenth to both sides; what is put now, others delete now.
        _schedule(server, message_id, at + timedelta(minutes=30 * rng.uniform(0.9, 1.1)), "job", made)
        due = at.replace(second=0, microsecond=0)
        entry = Entry(due, server.id, message_id, 5, "job", {})
        made.writes[entry.key.partition] += 1
        made.reads[entry.key.partition] += 1
    kind = EventKind.HELD if held else EventKind.DELIVERED
    return Event(kind, server.id, message_id, 1, at)


def _schedule(server: Server, message_id: MessageId, due: datetime, kind: str, made: Load) -> None:
    made.writes[Entry(due, server.id, message_id, 5, kind, {}).key.partition] += 1


def _record(events: Sequence[Event], servers: dict[ServerId, Server], rng: random.Random, made: Load) -> None:
    """Write what one run of the events function writes, as ``shared.store.event_flushes`` does."""
    by_server: defaultdict[ServerId, list[Event]] = defaultdict(list)
    for event in events:
        by_server[event.server_id].append(event)
    for server_id, theirs in by_server.items():
        server = servers[server_id]
        for start in range(0, len(theirs), MAX_EVENTS):
            _flush(server, theirs[start : start + MAX_EVENTS], rng, made)


def _flush(server: Server, events: Sequence[Event], rng: random.Random, made: Load) -> None:
    at = events[0].at
    shards = shards_at(server.shards, at)
    listed: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        key = keys.event_key(event, server.shards)
        made.writes[key.partition] += 1
        listed[key.partition].append(key.sort)
    flush = keys.flush_name(int(at.timestamp() * 1000), rng.randrange(shards), rng.getrandbits(64))
    page = keys.log_key(server.id, flush)
    size = item_bytes({"pk": page.partition, "sk": page.sort, "open": False, "rows": dict(listed)})
    made.writes[page.partition] += 1 + 2 * write_units(size)
    counters = keys.counters_key(server.id, at, rng.randrange(max(keys.COUNTER_SHARDS, shards)))
    made.writes[counters.partition] += 2
    # A client that reads the log reads each page and each event once.
    made.reads[page.partition] += write_units(size)
    for partition, sorts in listed.items():
        made.reads[partition] += len(sorts)


def _read_tenants(servers: Sequence[tuple[Server, float]], rng: random.Random, made: Load) -> None:
    """Read what directories read again after five seconds, in each process, for whoever sends there."""
    for server, rate in servers:
        # A process that meets a tenant at all within the time reads it once.
        meets = min(1.0, rate * SEEN_WITHIN_S / PROCESSES)
        for _ in range(int(PROCESSES / SEEN_WITHIN_S * meets + rng.random())):
            for key in _tenant_keys(server):
                made.reads[key.partition] += 1


def _tenant_keys(server: Server) -> Iterator[keys.Key]:
    yield keys.server_key(server.id)
    yield keys.organization_key(server.organization_id)
    yield keys.credential_key("API", f"{server.id:x}")
    yield keys.credential_listing_key(server.id, 1)
    yield keys.domain_key(f"{server.permalink}.test", server_id=server.id)
    yield keys.domain_key(f"{server.permalink}.test", organization_id=server.organization_id)


def units_of_event(made: Load) -> float:
    """Return the write units that recording takes for each message."""
    kinds = ("events", "log", "counters")
    return sum(units for name, units in made.writes.items() if name.partition("#")[0] in kinds) / RATE / SECONDS


if __name__ == "__main__":
    for title, trace in (("all mail flows", load()), ("the largest tenant is suspended", load(held=0))):
        print(f"{title}: recording takes {units_of_event(trace):.2f} write units a message")
        for name, units in (("writes", trace.writes), ("reads", trace.reads)):
            for kind, most in sorted(trace.busiest(units).items(), key=lambda pair: -pair[1]):
                print(f"  {name:6} {kind:14} {most:6.0f}/s in the busiest partition")
