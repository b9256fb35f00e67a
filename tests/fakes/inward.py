"""Mail that comes in to an installation in memory: bounces, complaints and plain mail, taken by the real flow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import draw_ids
from shared.domain.incoming import Incoming
from shared.domain.message import Direction, Message, Origin, Status, Via
from shared.domain.outcome import Sent
from shared.domain.routes import Route, RouteMode
from shared.flow.find_inward import Finding, Inward, find_inward
from shared.flow.follow import Following, follow
from shared.flow.receiving import Receiving
from shared.flow.reserve_incoming import digest_of, fingerprint
from shared.flow.routes import NewRoute, create_route
from shared.flow.settle import settle
from shared.flow.suppress import Suppressing
from shared.flow.take_incoming import take_incoming
from shared.ports import Key, Stores
from shared.store.keys import message_key
from shared.store.messages import Messages
from shared.store.reservations import Reservations
from shared.store.routes import Routes
from shared.store.servers import Servers
from shared.tokens import Named
from tests.fakes.installation import Installation

RP = "rp.localhost"


def dsn(
    recipient: str = "user@dest.test",
    *,
    action: str = "failed",
    status: str = "5.1.1",
    head: str = "",
    unique: str = "",
) -> bytes:
    """Return a report by RFC 3464; ``head`` is the head of the returned message."""
    text = f"""From: MAILER-DAEMON@mx.dest.test
To: <rp@rp.localhost>
Subject: Undelivered Mail Returned to Sender
Message-ID: <dsn{unique}@mx.dest.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

This is the mail system at host mx.dest.test.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.dest.test

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} No such user here

--b
Content-Type: text/rfc822-headers

{head or "Subject: Hello"}

--b--
"""
    return text.replace("\n", "\r\n").encode()


def complaint(recipient: str = "", *, head: str = "", kind: str = "abuse", unique: str = "") -> bytes:
    """Return a feedback report (RFC 5965)."""
    to = f"Original-Rcpt-To: {recipient}\n" if recipient else ""
    text = f"""From: <fbl@isp.test>
To: <fbl@rp.localhost>
Subject: FW: Hello
Message-ID: <arf{unique}@isp.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

This is an email abuse report.

--b
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
{to}
--b
Content-Type: message/rfc822

From: <app@example.test>
{head or "Subject: Hello"}

Hi.

--b--
"""
    return text.replace("\n", "\r\n").encode()


@dataclass(slots=True)
class Limit:
    """How many calls still work."""

    left: int
    broken: bool = False

    def take(self, name: str) -> None:
        """Let a call through, or fail."""
        self.left -= 1
        if self.left < 0:
            self.broken = True
            raise StorageUnavailable(name)


class Limited:
    """A store that works for some calls."""

    def __init__(self, inner: Any, limit: Limit) -> None:
        self._inner = inner
        self._limit = limit

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._limit.take(name)
            return await getattr(self._inner, name)(*args, **kwargs)

        return call


@dataclass(slots=True)
class Post:
    """What comes to port 25 of an installation, and what became of it."""

    here: Installation

    @property
    def finding(self) -> Finding:
        """What finding a recipient needs."""
        here = self.here
        return Finding(here.settings, here.directory, Servers(here.records), Routes(here.records), here.tokens)

    @property
    def receiving(self) -> Receiving:
        """What taking mail in needs."""
        return Receiving.beside(self.here.acceptance, self.here.tokens)

    async def sent(self, recipient: str = "user@dest.test", **changes: object) -> Message:
        """Return a message that some host has taken."""
        message = await self.here.accept_one(recipient, **changes)
        claimed = await self.here.claim_one()
        await settle(claimed, Sent("ok", "250 OK"), took=timedelta(0), using=self.here.settling, now=self.here.clock())
        await self.here.take_events()
        return await self.here.message(message.id)

    async def token(self, message: Message) -> str:
        """Return the return-path token of a message."""
        return (await self.here.tokens.tokens()).return_path(Named(message.server_id, message.id))

    async def find(self, address: str) -> Inward:
        """Return where an address leads; it must be one that takes mail."""
        found = await find_inward(address, using=self.finding)
        assert isinstance(found, Inward), found
        return found

    async def route(self, mode: RouteMode) -> Route:
        """Make a route info@ of the first domain."""
        here = self.here
        wanted = NewRoute(address="info@example.test", mode=mode)
        made = await create_route(
            wanted,
            server=here.server,
            allowed=(),
            records=here.records,
            keyring=here.stores.keyring,
            rng=here.rng,
            now=here.clock(),
        )
        return made.route

    async def incoming(self) -> list[Key]:
        """Return where the records of incoming mail lie."""
        partition = message_key(
            self.here.server, Direction.INCOMING, draw_ids(self.here.clock(), 1, self.here.rng)[0]
        ).partition
        return [key for key, _ in (await self.here.records.query(partition)).items]

    def breaking_after(self, calls: int) -> tuple[Stores, Callable[[], bool]]:
        """Return stores that work for so many calls and then no more, and whether that came to pass."""
        limit = Limit(calls)
        stores = self.here.stores
        broken = replace(
            stores,
            records=Limited(stores.records, limit),
            bodies=Limited(stores.bodies, limit),
            events=Limited(stores.events, limit),
        )
        return broken, lambda: limit.broken

    async def take(self, address: str, raw: bytes, *, stores: Stores | None = None) -> Message | None:
        """Take a mail in as port 25 does; with other stores, if given."""
        found = await self.find(address)
        incoming = Incoming(
            to=found.to,
            rcpt_to=found.address,
            mail_from="",
            raw=b"Received: from x by y; z\r\n" + raw,
            origin=Origin(Via.ESMTP, "192.0.2.9", "mx.dest.test", "mx.dest.test"),
            received_at=self.here.clock(),
            digest=digest_of(found.to, address, "", fingerprint(raw)),
        )
        using = self.receiving
        if stores is not None:
            records = stores.records
            using = replace(using, stores=stores, messages=Messages(records), reservations=Reservations(records))
        return await take_incoming(incoming, using=using, now=self.here.clock())

    async def events(self, *kinds: EventKind) -> list[Event]:
        """Take the events off their queue; each once, however often it lies there; only of these kinds if given."""
        self.here.clock.advance(timedelta(seconds=11))  # those of messages still in hand are delayed
        found = {event.id: event for event in map(Event.from_json, await self.here.take_events())}
        return [each for each in found.values() if not kinds or each.kind in kinds]

    async def follow(self, *events: Event) -> None:
        """Do what follows from events."""
        here = self.here
        following = Following(Suppressing.over(here.stores, here.settings), here.directory, here.messages)
        await follow(events, using=following, now=here.clock())

    async def status(self, message: Message) -> Status:
        """Return what a message has become."""
        return (await self.here.message(message.id)).status

    async def row(self, message: Message | None) -> str:
        """Return what the only row of a kept mail says."""
        assert message is not None
        found = await self.here.messages.with_deliveries(self.here.server, message.id)
        assert found is not None
        [row] = found[1]
        return row.details
