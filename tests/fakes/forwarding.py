"""An installation with a route, mail that came in for it, and the inbound function's stage, driven step by step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.ids import draw_ids, draw_token
from shared.domain.job import Job
from shared.domain.message import Delivery, Direction, Message, Origin, Via
from shared.domain.routes import HTTPTarget, Route, RouteMode, Target
from shared.flow.due import Scheduling, do_due
from shared.flow.forward import Forwarding, forward
from shared.flow.inbound_request import InboundRequests
from shared.flow.lanes import Lanes
from shared.flow.queues import group_of, next_job, queue_of
from shared.flow.routes import NewRoute, create_route
from shared.ports import Outgoing, Queue
from shared.store.postal_key import PostalKey
from tests.fakes.http import FakeHTTP
from tests.fakes.installation import Installation, install

URL = HTTPTarget("https://app.example.com/mail")
SENDER = "ann@sender.test"
MAIL = (
    b"Authentication-Results: localhost; spf=pass smtp.mailfrom=ann@sender.test; arc=none\r\n"
    b"From: Ann <ann@sender.test>\r\nTo: support@example.test\r\nSubject: Help\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <q@sender.test>\r\n\r\nIt is broken.\r\n"
)
VISIBILITY = timedelta(seconds=30)


@dataclass(slots=True)
class Inbox:
    """One installation's incoming mail, and short ways to use it."""

    here: Installation
    http: FakeHTTP
    forwarding: Forwarding
    secrets: dict[str, str] = field(default_factory=dict)
    """Of routes, by address."""

    rng: random.Random = field(default_factory=lambda: random.Random(11))

    @property
    def queue(self) -> Queue:
        """The inbound queue."""
        return self.here.stores.inbound

    async def route(
        self,
        *targets: Target,
        address: str = "support@example.test",
        mode: RouteMode = RouteMode.ENDPOINT,
        **more: object,
    ) -> Route:
        """Make a route with its secret."""
        made = await create_route(
            NewRoute(address=address, mode=mode, targets=targets, **more),  # type: ignore[arg-type]
            server=self.here.server,
            allowed=(),
            records=self.here.records,
            keyring=self.here.stores.keyring,
            rng=self.rng,
            now=self.here.clock(),
        )
        self.secrets[made.route.address] = made.secret
        return made.route

    async def receive(self, route: Route, raw: bytes = MAIL, **changes: object) -> Message:
        """Store a mail that the route took, as a node does: body, job, record."""
        here = self.here
        message_id = draw_ids(here.clock(), 1, self.rng)[0]
        message = Message(
            server_id=here.server.id,
            id=message_id,
            token=draw_token(self.rng),
            direction=Direction.INCOMING,
            rcpt_to="support@example.test",
            mail_from=SENDER,
            subject="Help",
            message_id="q@sender.test",
            body_key=f"{here.server.id}/{message_id}-in",
            size_bytes=len(raw),
            origin=Origin(Via.ESMTPS, "192.0.2.9", helo="mx.sender.test"),
            domain=route.domain,
            route=route.address,
            endpoint=route.targets[0] if route.targets else None,
            sender_verified=True,
        )
        message = replace(message, **changes)  # type: ignore[arg-type]
        await here.bodies.put(message.body_key, raw, expires_at=here.clock() + timedelta(days=30))
        await self.send_job(message)
        assert await here.messages.add(here.server, message, expires_at=here.clock() + timedelta(days=30))
        return message

    async def send_job(self, message: Message) -> None:
        """Put the message's job on its queue."""
        job = next_job(message)
        queue = queue_of(self.here.stores, self.here.server, message)
        await queue.send([Outgoing(job.to_json(), group=group_of(job))])

    async def deliver(self, using: Forwarding | None = None) -> int:
        """Work on everything that is visible now, once; return how many jobs."""
        count = 0
        while got := await self.queue.receive(10, wait=timedelta(0), visibility=VISIBILITY):
            count += len(got)
            for each in got:
                job = Job.from_json(each.body)
                if await forward(job, sent_at=each.sent_at, receives=each.receives, using=using or self.forwarding):
                    await self.queue.delete([each.receipt])
        return count

    async def pass_time(self, span: timedelta, *, step: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass in steps; at each, the schedule and the queue are worked on."""
        until = self.here.clock() + span
        while self.here.clock() < until:
            self.here.clock.advance(step)
            await do_due(using=Scheduling(self.here.settling, self.here.directory), now=self.here.clock())
            await self.deliver()

    async def history(self, message: Message) -> tuple[Message, Sequence[Delivery]]:
        """Return the message as it is now, with its rows."""
        found = await self.here.messages.with_deliveries(self.here.server, message.id)
        assert found is not None
        return found


async def open_inbox(http: FakeHTTP | None = None) -> Inbox:
    """Return a fresh installation whose inbound function is in memory."""
    here, http = await install(), http or FakeHTTP()
    return Inbox(here, http, forwarding_of(here, http))


def forwarding_of(here: Installation, http: FakeHTTP) -> Forwarding:
    """Return what a process needs to forward; twice: another process."""
    return Forwarding(
        settling=here.settling,
        directory=here.directory,
        requests=InboundRequests(http, here.stores.keyring, PostalKey(here.records, here.stores.keyring)),
        lanes=Lanes(patience_s=0.05),
        clock=here.clock,
    )
