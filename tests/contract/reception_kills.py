"""Takes mail of each kind in on one SQLite file, in a process that is killed at one store call; then again in another.

``python -m tests.contract.reception_kills DIRECTORY`` prints a JSON document: for each
kind how many kills there were, and of each mail what was there after its repetition.
Children are forked and killed with SIGKILL, so that what they had in memory is gone.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.sqlite_uploads import SQLiteUploads
from shared.adapters.embedded.store import SQLiteStore
from shared.adapters.keyring import MasterKeyring
from shared.domain.event import Event
from shared.domain.headers import split_head
from shared.domain.ids import draw_ids
from shared.domain.incoming import Incoming
from shared.domain.job import Job, TLSMode
from shared.domain.message import Direction, Origin, Via
from shared.domain.reports.sums import Aggregate
from shared.domain.routes import HTTPTarget, RouteMode, SMTPTarget, Target
from shared.flow.accept import Acceptance
from shared.flow.receiving import Receiving
from shared.flow.reserve_incoming import digest_of, fingerprint
from shared.flow.routes import NewRoute, create_route
from shared.flow.take_incoming import take_incoming
from shared.ports import Queue, Stores
from shared.settings import Settings
from shared.store.keys import message_key
from shared.store.reports import Reports
from tests.fakes.clock import FakeClock
from tests.fakes.installation import install
from tests.fakes.inward import RP, Post, complaint, dsn

MOST_CALLS = 15
"""More than any kind makes: the last ones are not killed."""

ROUTES: dict[str, tuple[RouteMode, list[Target]]] = {
    "accept": (RouteMode.ACCEPT, []),
    "hold": (RouteMode.HOLD, []),
    "bounce": (RouteMode.BOUNCE, []),
    "endpoint": (
        RouteMode.ENDPOINT,
        [HTTPTarget("https://app.test/"), SMTPTarget("mx.app.test", 25, TLSMode.STARTTLS)],
    ),
}
DMARC = b"""From: <noreply@isp.test>\r\nMessage-ID: <%d@isp.test>\r\nContent-Type: text/xml\r\n\r\n<?xml version="1.0"?>
<feedback><report_metadata><org_name>isp.test</org_name><report_id>%d</report_id><date_range><begin>1767225600</begin>
<end>1767311999</end></date_range></report_metadata><policy_published><domain>example.test</domain></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated><disposition>none</disposition>
<dkim>pass</dkim><spf>pass</spf></policy_evaluated></row></record></feedback>""".replace(b"\r\n", b"\n").replace(
    b"\n", b"\r\n"
)


@dataclass(slots=True)
class Point:
    """The store call at which a process is killed: before it, or once it has happened and nobody knows."""

    left: int
    after: bool

    async def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, or be killed at it."""
        self.left -= 1
        fatal = self.left < 0
        if fatal and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await work()
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class Deadly:
    """A store whose calls are counted."""

    def __init__(self, inner: Any, point: Point) -> None:
        self._inner = inner
        self._point = point

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._point.call(lambda: getattr(self._inner, name)(*args, **kwargs))

        return call


def opener(path: Path) -> tuple[Callable[[FakeClock], Stores], Callable[[], None]]:
    """Return what opens stores on the file, and what closes them."""
    store = SQLiteStore(path, durability="normal")

    def opened(clock: FakeClock) -> Stores:
        records, bodies, keyring = SQLiteRecords(store, clock), SQLiteBodies(store, clock), MasterKeyring(bytes(32))
        work, events, webhooks, inbound = (
            SQLiteQueue(store, each, clock) for each in ("work", "events", "webhooks", "inbound")
        )
        uploads = SQLiteUploads(bodies, keyring, "http://localhost", clock)
        return Stores(records, bodies, {"default": work}, events, keyring, webhooks, inbound, uploads)

    return opened, store.close


async def prepare(path: Path) -> tuple[Post, list[tuple[str, Point, Incoming]]]:
    """Make an installation, and a mail of each kind for each point at which its process will be killed."""
    opened, close = opener(path)
    post = Post(await install(opened=opened))
    here = post.here
    for name, (mode, targets) in ROUTES.items():
        wanted = NewRoute(address=f"{name}@example.test", mode=mode, targets=targets)
        using = {"records": here.records, "keyring": here.stores.keyring, "rng": here.rng, "now": here.clock()}
        await create_route(wanted, server=here.server, allowed=(), **using)
    mails: list[tuple[str, Point, Incoming]] = []
    for calls in range(MOST_CALLS):
        for after in (False, True):
            number = len(mails)
            plain = b"Message-ID: <%d@dest.test>\r\nSubject: Hello\r\n\r\nHi.\r\n"
            for name in ROUTES:
                mails.append((name, Point(calls, after), await _incoming(post, f"{name}@example.test", plain % number)))
                number += 1
            for name in ("return path", "unmatched", "unsubscribe", "complaint", "report"):
                mails.append((name, Point(calls, after), await _to_return_path(post, name, number)))
                number += 1
    close()
    return post, mails


async def _to_return_path(post: Post, name: str, number: int) -> Incoming:
    if name == "report":
        return await _incoming(post, f"dmarc@{RP}", DMARC % (number, number))
    post.here.clock.advance(timedelta(milliseconds=1))  # else ids of what was sent would meet
    token = await post.token(await post.sent())
    match name:
        case "return path":
            return await _incoming(post, f"{token}@{RP}", dsn(unique=str(number)))
        case "unmatched":
            return await _incoming(post, f"{token}@{RP}", dsn(action="delayed", unique=str(number)))
        case "unsubscribe":
            return await _incoming(post, f"unsubscribe+{token}@{RP}", b"Message-ID: <%d@a.test>\r\n\r\n" % number)
        case _:
            raw = complaint(head=f"X-Edgepost-Report: {token}", unique=str(number))
            return await _incoming(post, f"fbl@{RP}", raw)


async def _incoming(post: Post, address: str, raw: bytes) -> Incoming:
    found = await post.find(address)
    return Incoming(
        to=found.to,
        rcpt_to=found.address,
        mail_from="",
        raw=b"Received: from x by y; z\r\n" + raw,
        origin=Origin(Via.ESMTP, "192.0.2.9", "mx.dest.test", "mx.dest.test"),
        received_at=post.here.clock(),
        digest=digest_of(found.to, address, "", fingerprint(raw)),
    )


def killed(path: Path, post: Post, incoming: Incoming, point: Point, seed: int) -> bool:
    """Take the mail in, in a process that is killed at the point; False if it ended before."""
    child = os.fork()
    if child == 0:
        opened, _ = opener(path)
        stores = opened(post.here.clock)
        deadly = replace(
            stores,
            records=Deadly(stores.records, point),
            bodies=Deadly(stores.bodies, point),
            work={"default": Deadly(stores.work["default"], point)},
            events=Deadly(stores.events, point),
            inbound=Deadly(stores.inbound, point),
        )
        asyncio.run(take_incoming(incoming, using=receiving(deadly, post, seed), now=post.here.clock()))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def receiving(stores: Stores, post: Post, seed: int) -> Receiving:
    """Return what a fresh process takes mail in with."""
    using = Acceptance.over(stores, Settings(), clock=post.here.clock, rng=random.Random(seed))
    return Receiving.beside(using, post.here.tokens)


async def repeat(path: Path, post: Post, mails: list[tuple[str, Point, Incoming]]) -> dict[str, Any]:
    """Bring all mails once more, as their clients do, and return what is there then."""
    opened, close = opener(path)
    stores = opened(post.here.clock)
    using = receiving(stores, post, 0)
    bodies = 0
    for _, _, incoming in mails:
        message = await take_incoming(incoming, using=using, now=post.here.clock())
        bodies += message is not None and await stores.bodies.get(message.body_key) is not None
    partition = message_key(post.here.server, Direction.INCOMING, draw_ids(post.here.clock(), 1, random.Random(0))[0])
    found = [item for _, item in (await stores.records.query(partition.partition, limit=1000)).items]
    post.here.clock.advance(timedelta(minutes=1))
    events = {each.id: each.kind.value for each in map(Event.from_json, await drained(stores.events))}
    queued = [each for queue in (stores.work["default"], stores.inbound) for each in await drained(queue)]
    jobs = {Job.from_json(each).message_id for each in queued}
    days = {"since": date(2026, 1, 1), "until": date(2026, 1, 2)}
    [sums] = await Reports(stores.records).days("example.test", Aggregate.DMARC, **days)
    close()
    return {
        "bodies": bodies,
        "copies": Counter(str(item["message_id"]) for item in found),
        "events": Counter(events.values()),
        "without_job": [item["id"] for item in found if item["status"] == "Pending" and item["id"] not in jobs],
        "reported": sums.sums["messages"],
    }


async def drained(queue: Queue) -> list[str]:
    """Return all that is in a queue."""
    found: list[str] = []
    while got := await queue.receive(10, wait=timedelta(0), visibility=timedelta(hours=1)):
        found += [each.body for each in got]
    return found


def main(path: Path) -> None:
    """Kill, repeat, and print."""
    post, mails = asyncio.run(prepare(path))
    kills: Counter[str] = Counter()
    for seed, (name, point, incoming) in enumerate(mails):
        kills[name] += killed(path, post, incoming, point, seed)
    found = asyncio.run(repeat(path, post, mails))
    names = {_message_id(incoming): name for name, _, incoming in mails}
    copies = {name: Counter[int]() for name, _, _ in mails}
    for message_id, name in names.items():
        copies[name][found["copies"][message_id]] += 1
    sys.stdout.write(json.dumps({**found, "kills": kills, "copies": copies}))


def _message_id(incoming: Incoming) -> str:
    return split_head(incoming.raw).text(b"Message-ID").strip("<>")


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "edgepost.db")
