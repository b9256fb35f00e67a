"""A real ``ReceiveService`` on loopback in front of a recording inside."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from shared.domain.errors import BadCredentials
from shared.domain.ids import CredentialId, MessageId, OrganizationId, ServerId
from shared.domain.incoming import Incoming, InwardRefusal, ReportKind, ToReports, ToReturnPath, ToRoute
from shared.domain.inspection import NOT_INSPECTED, Inspection, rule_incoming
from shared.domain.inspection_fields import inspection_fields
from shared.domain.message import Message, Origin
from shared.domain.routes import Route, RouteMode
from shared.domain.submission import Accepted, AcceptedMessage, Submission
from shared.domain.tenancy import Credential, CredentialType, Mode, Organization, Server, Shards, Tenant
from shared.flow.find_inward import Inward
from shared.flow.rule import Ruled
from smtp_node.receive.inside import Grant, Inside
from smtp_node.receive.limits import Door, ReceiveLimits
from smtp_node.receive.service import ReceiveService
from smtp_node.receive.tls import TLSContexts, self_signed
from smtp_node.scan.scanner import ScannedMail
from tests.dialogue.wire import Wire

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTNAME = "mx.example.test"
LIMITS = ReceiveLimits(hostname=HOSTNAME, failed_login_delay=timedelta(milliseconds=20))

ORGANIZATION = Organization(OrganizationId(1), "Acme", "acme", NOW)
SERVER = Server(ServerId(7), OrganizationId(1), "Main", "main", "abcdef", Mode.LIVE, NOW, (Shards(NOW, 1),))
CREDENTIAL = Credential(CredentialId(9), ServerId(7), CredentialType.SMTP, "app", hold=False, created_at=NOW)
GRANT = Grant(Tenant(SERVER, ORGANIZATION), CREDENTIAL)
ROUTE = Route(ServerId(7), "info", "here.test", "token123", RouteMode.ACCEPT, NOW)
INWARD: dict[str, Inward | InwardRefusal] = {
    "info": Inward(ToRoute(ROUTE), "info@here.test"),
    "sales": Inward(ToRoute(ROUTE), "sales@here.test"),
    "token123": Inward(ToRoute(ROUTE), "info@here.test"),
    "good": Inward(ToReturnPath(ServerId(7), MessageId(1)), "good@rp.example.test"),
    "dmarc": Inward(ToReports(ReportKind.DMARC), "dmarc@rp.example.test"),
    "postmaster": InwardRefusal.NO_OPERATOR,
    "suspended": InwardRefusal.SUSPENDED,
    "reject": InwardRefusal.REJECTED,
}
SUSPENDED = Grant(Tenant(replace(SERVER, suspended_at=NOW), ORGANIZATION), CREDENTIAL)


class RecordingInside:
    """Knows the keys ``good-key`` and ``suspended-key``; remembers what was handed in."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.taken_in: list[Incoming] = []
        self.keys_tried: list[str] = []
        self.networks_asked: list[str] = []
        self.revoked = False
        self.network_grant: Grant | None = None
        self.error: Exception | None = None
        """Raised in place of the next acceptances."""

        self.inspection = NOT_INSPECTED
        """What the scanners say of every mail."""

        self.scanned: list[ScannedMail] = []
        self.hold: asyncio.Event | None = None
        """Acceptances wait for it."""

    def functions(self) -> Inside:
        """Return it in the form that the door takes."""
        return Inside(
            by_key=self.by_key,
            by_network=self.by_network,
            current=self.current,
            accept=self.accept,
            reverse_name=self.reverse_name,
            find_inward=self.find_inward,
            authenticate=self.authenticate,
            inspect=self.inspect,
            rule=self.rule,
            take_in=self.take_in,
            clock=lambda: NOW,
        )

    async def by_key(self, key: str) -> Grant:
        """Let two keys in."""
        self.keys_tried.append(key)
        grants = {"good-key": GRANT, "suspended-key": SUSPENDED}
        if key not in grants:
            raise BadCredentials("no such key")
        return grants[key]

    async def by_network(self, address: str) -> Grant | None:
        """Let everybody in, or nobody."""
        self.networks_asked.append(address)
        return self.network_grant

    async def current(self, grant: Grant) -> Grant | None:
        """Keep the grant until it is revoked."""
        return None if self.revoked else grant

    async def accept(self, submission: Submission) -> Accepted:
        """Record the submission, or raise what was asked for."""
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        self.submissions.append(submission)
        first = 1000 * len(self.submissions)
        messages = {
            address: AcceptedMessage(MessageId(first + at), "t" * 16)
            for at, address in enumerate(submission.recipients)
        }
        return Accepted("id@example.test", messages)

    async def find_inward(self, address: str) -> Inward | InwardRefusal | None:
        """Know a few addresses of ours by their local part, and refuse others as the real flow does."""
        local, _, domain = address.partition("@")
        if domain == "rp.example.test":
            return INWARD.get(local, InwardRefusal.NO_SUCH_SERVER)
        if domain == "routes.example.test":
            return INWARD.get(local, InwardRefusal.NO_SUCH_ROUTE)
        return INWARD.get(local) if domain in ("here.test", HOSTNAME) else None

    async def authenticate(self, raw: bytes, mail_from: str, origin: Origin) -> tuple[bytes, bytes, str]:
        """State nothing."""
        return b"Authentication-Results: mx.example.test; none\r\n", raw, "mx.example.test; none"

    async def inspect(self, mail: ScannedMail) -> Inspection:
        """Record what is scanned, and say what was asked for."""
        self.scanned.append(mail)
        return self.inspection

    async def rule(self, route: Route, inspection: Inspection) -> Ruled:
        """Rule as the real flow does, by the thresholds of the one server."""
        ruling = rule_incoming(inspection, SERVER, route.spam_mode)
        return Ruled(ruling, inspection_fields(ruling, SERVER))

    async def take_in(self, incoming: Incoming) -> Message | None:
        """Record the mail, or raise what was asked for."""
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        self.taken_in.append(incoming)
        return None

    async def reverse_name(self, address: str) -> str:
        """Return one name for all."""
        return "client.example.test"


class Behind(Protocol):
    """Anything that a door can be put in front of."""

    def functions(self) -> Inside:
        """Return the way inside."""
        ...


class CountingMeter:
    """Counts by name and labels."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to it."""
        self.counts[name, *sorted(labels.values())] += amount


@cache
def certificate() -> Path:
    """Return one self-signed certificate for all tests."""
    return self_signed(Path(mkdtemp(prefix="edgepost-tls-")), "localhost", now=datetime.now(UTC))


class Doors:
    """A started service, its ports by door, and what it was given."""

    def __init__(
        self, service: ReceiveService, inside: RecordingInside, meter: CountingMeter, ports: dict[str, int]
    ) -> None:
        self.service = service
        self.inside = inside
        self.meter = meter
        self.ports = ports
        self.wires: list[Wire] = []

    async def connect(self, port: str) -> Wire:
        """Return a connection to a kind of port, with TLS where it is implicit."""
        wire = await Wire.to(self.ports[port], tls=port == "submissions")
        self.wires.append(wire)
        return wire


@asynccontextmanager
async def open_doors(limits: ReceiveLimits = LIMITS, inside: Behind | None = None) -> AsyncIterator[Doors]:
    """Serve all three kinds of port on loopback until the end of the block."""
    inside = inside or RecordingInside()
    recording = inside if isinstance(inside, RecordingInside) else RecordingInside()
    meter = CountingMeter()
    service = ReceiveService(
        limits, inside.functions(), tls=TLSContexts(certificate()), rng=random.Random(1), meter=meter
    )
    sockets = {door.value: [_bound()] for door in Door}
    ports = {name: each[0].getsockname()[1] for name, each in sockets.items()}
    await service.start(sockets)
    try:
        yield (doors := Doors(service, recording, meter, ports))
    finally:
        for wire in doors.wires:
            await wire.close()
        await service.stop(timedelta(seconds=1))


def _bound() -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    found.setblocking(False)
    return found
