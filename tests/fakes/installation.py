"""An installation in memory: one organization, one server, one verified domain, one API key."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.adapters.embedded.sqlite_uploads import SQLiteUploads
from shared.adapters.keyring import MasterKeyring
from shared.domain.job import Job
from shared.domain.message import Message, Origin, Via
from shared.domain.submission import Accepted, Submission
from shared.domain.tenancy import Credential, CredentialType, DKIMAlgorithm, Domain, Scope, Server, Tenant
from shared.flow.accept import Acceptance, accept
from shared.flow.claim import Claimed, claim
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.domains import NewDomain, add_domain
from shared.flow.organizations import create_organization
from shared.flow.servers import NewServer, create_server
from shared.flow.settle import Settling
from shared.flow.token_keys import TokenSource
from shared.ports import Received, Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.reservations import Reservations
from shared.store.schedule import Schedule
from tests.fakes.bodies import FakeBodies
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from tests.fakes.records import FakeRecords
from tests.fakes.token_keys import FakeTokenKeys

RAW = (
    b"From: App <app@example.test>\r\nTo: user@dest.test\r\nSubject: Hello\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <one@example.test>\r\n\r\nHi.\r\n"
)

NEVER = timedelta(days=3650)


@dataclass(slots=True)
class Installation:
    """Everything a flow needs, and short ways to use it."""

    clock: FakeClock
    records: FakeRecords
    bodies: FakeBodies
    work: FakeQueue
    events: FakeQueue
    stores: Stores
    settings: Settings
    directory: Directory
    messages: Messages
    acceptance: Acceptance
    settling: Settling
    tenant: Tenant
    domain: Domain
    credential: Credential
    key: str
    tokens: TokenSource
    token_keys: FakeTokenKeys
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def server(self) -> Server:
        """The one server, as it was made."""
        return self.tenant.server

    def submission(self, *recipients: str, raw: bytes = RAW, **changes: object) -> Submission:
        """Return a submission that will be accepted unless ``changes`` prevent it."""
        made = Submission(
            tenant=self.tenant,
            credential=self.credential,
            mail_from="app@example.test",
            recipients=recipients or ("user@dest.test",),
            raw=raw,
            origin=Origin(Via.HTTP, "192.0.2.7"),
            request_digest="digest",
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    async def accept(self, *recipients: str, **changes: object) -> Accepted:
        """Accept a submission now."""
        return await accept(self.submission(*recipients, **changes), using=self.acceptance, now=self.clock())  # type: ignore[arg-type]

    async def accept_one(self, recipient: str = "user@dest.test", **changes: object) -> Message:
        """Accept a submission to one recipient and return its stored message."""
        answer = await self.accept(recipient, **changes)
        return await self.message(answer.messages[recipient].id)

    async def message(self, message_id: int) -> Message:
        """Return a message that must be there."""
        found = await self.messages.get(self.server, message_id)  # type: ignore[arg-type]
        assert found is not None
        return found

    async def take_jobs(self, limit: int = 10) -> list[tuple[Job, Received]]:
        """Take jobs from the work queue without waiting."""
        got = await self.work.receive(limit, wait=timedelta(0), visibility=timedelta(seconds=30))
        return [(Job.from_json(each.body), each) for each in got]

    async def claim_one(self) -> Claimed:
        """Take one job and claim its message."""
        [(job, received)] = await self.take_jobs(1)
        claimed = await claim(
            job,
            sent_at=received.sent_at,
            receives=received.receives,
            directory=self.directory,
            messages=self.messages,
            now=self.clock(),
        )
        assert isinstance(claimed, Claimed)
        return claimed

    async def take_events(self) -> list[str]:
        """Take all events from their queue as JSON."""
        taken: list[str] = []
        while got := await self.events.receive(10, wait=timedelta(0), visibility=timedelta(seconds=30)):
            taken.extend(each.body for each in got)
            await self.events.delete([each.receipt for each in got])
        return taken


def in_memory(clock: FakeClock) -> Stores:
    """Return empty stores."""
    bodies, keyring = FakeBodies(clock), MasterKeyring(bytes(32))
    uploads = SQLiteUploads(bodies, keyring, Settings().public_url, clock)
    work, events, webhooks, inbound = (FakeQueue(clock) for _ in range(4))
    return Stores(FakeRecords(clock), bodies, {"default": work}, events, keyring, webhooks, inbound, uploads)


async def install(
    settings: Settings | None = None, *, opened: Callable[[FakeClock], Stores] = in_memory
) -> Installation:
    """Return a fresh installation; ``opened`` gives empty stores."""
    settings = settings or Settings()
    clock, rng = FakeClock(), random.Random(7)
    stores = opened(clock)
    records, keyring = stores.records, stores.keyring
    organization = await create_organization("Acme", records=records, rng=rng, now=clock())
    server = await create_server(
        NewServer(name="Main"), organization=organization, records=records, rng=rng, now=clock()
    )
    wanted = NewDomain(name="example.test", algorithms=(DKIMAlgorithm.ED25519,), scope=Scope.ADMIN, trusted=True)
    domain = await add_domain(
        wanted,
        owner=server,
        records=records,
        keyring=keyring,
        rng=rng,
        now=clock(),
        check_after=NEVER,  # or it would be among what becomes due in tests of mail
    )
    issued = await create_credential(
        NewCredential(type=CredentialType.API, name="app"), server=server, records=records, rng=rng, now=clock()
    )
    directory, messages, token_keys = Directory(records, clock=clock), Messages(records), FakeTokenKeys()
    return Installation(
        clock=clock,
        records=records,
        bodies=stores.bodies,
        work=stores.work["default"],
        events=stores.events,
        stores=stores,
        settings=settings,
        directory=directory,
        messages=messages,
        acceptance=Acceptance(stores, directory, messages, Reservations(records), settings, rng),
        settling=Settling(stores, messages, Schedule(records), settings, rng),
        tenant=Tenant(server, organization),
        domain=domain,
        credential=issued.credential,
        key=issued.key,
        tokens=TokenSource(token_keys, clock=clock, random_bytes=rng.randbytes),
        token_keys=token_keys,
    )
