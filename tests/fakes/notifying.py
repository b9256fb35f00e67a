"""An installation whose events reach endpoints: hand on, notify and the schedule, driven step by step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.endpoint import Endpoint
from shared.domain.event import Event, EventKind
from shared.domain.message import Message
from shared.domain.parcel import Parcel
from shared.flow.due import Scheduling, do_due
from shared.flow.endpoints import NewEndpoint, create_endpoint
from shared.flow.hand_on import HandingOn, hand_on
from shared.flow.lanes import Lanes
from shared.flow.notify import Notifying, notify
from shared.flow.webhook_request import Requests
from shared.ports import Queue
from shared.store.endpoints import Endpoints
from shared.store.parcels import Parcels, Tried
from shared.store.postal_key import PostalKey
from shared.store.schedule import Schedule
from tests.fakes.http import FakeHTTP
from tests.fakes.installation import Installation, install

URL = "https://hooks.example.com/edgepost"
VISIBILITY = timedelta(seconds=30)


@dataclass(slots=True)
class Hooks:
    """Endpoints of one installation, and short ways to use them."""

    here: Installation
    http: FakeHTTP
    notifying: Notifying
    handing_on: HandingOn
    rng: random.Random = field(default_factory=lambda: random.Random(3))

    @property
    def queue(self) -> Queue:
        """The webhooks queue."""
        return self.here.stores.webhooks

    async def endpoint(self, **wanted: object) -> tuple[Endpoint, str]:
        """Make an endpoint and return it with its secret."""
        made = await create_endpoint(
            NewEndpoint(**{"url": URL, **wanted}),  # type: ignore[arg-type]
            server=self.here.server,
            records=self.here.records,
            keyring=self.here.stores.keyring,
            allowed=(),
            rng=self.rng,
            now=self.here.clock(),
        )
        return made.endpoint, made.secret

    def event(self, message: Message, kind: EventKind = EventKind.DELIVERED, **more: object) -> Event:
        """Return an event of a message, now."""
        return Event(kind, message.server_id, message.id, 1, self.here.clock(), **more)  # type: ignore[arg-type]

    async def tell(self, *events: Event) -> None:
        """Hand events on, as ``record`` does."""
        await hand_on(events, using=self.handing_on)

    async def take(self) -> list[tuple[str, str]]:
        """Take what is visible on the webhooks queue: bodies and receipts."""
        taken: list[tuple[str, str]] = []
        while got := await self.queue.receive(10, wait=timedelta(0), visibility=VISIBILITY):
            taken += [(each.body, each.receipt) for each in got]
        return taken

    async def deliver(self) -> int:
        """Work on everything that is visible now, once; return how many parcels."""
        taken = await self.take()
        for body, receipt in taken:
            if await notify(Parcel.from_json(body), using=self.notifying):
                await self.queue.delete([receipt])
        return len(taken)

    async def pass_time(self, span: timedelta, *, step: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass in steps; at each, the schedule and the queue are worked on."""
        scheduling = Scheduling(self.here.settling, self.here.directory)
        until = self.here.clock() + span
        while self.here.clock() < until:
            self.here.clock.advance(step)
            await do_due(using=scheduling, now=self.here.clock())
            await self.deliver()

    async def stored(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint as it is now."""
        found = await self.notifying.endpoints.get(endpoint.server_id, endpoint.id)
        assert found is not None
        return found

    async def attempts(self, endpoint: Endpoint) -> Sequence[Tried]:
        """Return the log of the endpoint."""
        return (await self.notifying.parcels.attempts(endpoint.server_id, endpoint.id))[0]

    def ids(self) -> list[str]:
        """Return the webhook ids of all requests, in order."""
        return [each.headers["webhook-id"] for each in self.http.posted]


async def open_hooks(http: FakeHTTP | None = None) -> Hooks:
    """Return a fresh installation with an endpoint world in memory."""
    here, http = await install(), http or FakeHTTP()
    return Hooks(here, http, notifying_of(here, http), handing_on_of(here))


def notifying_of(here: Installation, http: FakeHTTP) -> Notifying:
    """Return what a process needs to notify; twice: another process."""
    return Notifying(
        endpoints=Endpoints(here.records),
        parcels=Parcels(here.records),
        schedule=Schedule(here.records),
        webhooks=here.stores.webhooks,
        events=here.events,
        requests=Requests(http, here.stores.keyring, PostalKey(here.records, here.stores.keyring)),
        lanes=Lanes(patience_s=0.05),
        settings=here.settings,
        clock=here.clock,
        rng=random.Random(5),
    )


def handing_on_of(here: Installation) -> HandingOn:
    """Return what handing on needs."""
    return HandingOn(Endpoints(here.records), here.directory, here.messages, here.stores.webhooks)
