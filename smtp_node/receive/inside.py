"""What the SMTP door needs from behind it, as a handful of functions.

The door knows no store: ``inside`` binds them to the flow, tests to what they
like to record.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.domain.incoming import Incoming, InwardRefusal
from shared.domain.inspection import Inspection
from shared.domain.message import Message, Origin
from shared.domain.routes import Route
from shared.domain.submission import Accepted, Submission
from shared.domain.tenancy import Credential, CredentialType, Tenant
from shared.flow.accept import Acceptance, accept
from shared.flow.authenticate import authenticate, authenticate_network
from shared.flow.find_inward import Finding, Inward, find_inward
from shared.flow.receiving import Receiving
from shared.flow.rule import Ruled, rule
from shared.flow.take_incoming import take_incoming
from shared.flow.token_keys import TokenSource
from shared.network import Resolver
from shared.ports import Clock
from shared.store.routes import Routes
from shared.store.servers import Servers
from smtp_node.authentication.inbound import Authentication, Envelope
from smtp_node.receive.names import ReverseNames
from smtp_node.scan.scanner import ScannedMail
from smtp_node.scan.scanning import Scanning


@dataclass(frozen=True, slots=True)
class Grant:
    """Who the client is allowed to be."""

    tenant: Tenant
    credential: Credential


@dataclass(frozen=True, slots=True)
class Inside:
    """The way from the door into the house."""

    by_key: Callable[[str], Awaitable[Grant]]
    """The owner of an SMTP key; raises BadCredentials."""

    by_network: Callable[[str], Awaitable[Grant | None]]
    """The owner of the SMTP-IP credential that covers a client's address, or None."""

    current: Callable[[Grant], Awaitable[Grant | None]]
    """The grant as it is now, or None if it was taken back: sessions last long."""

    accept: Callable[[Submission], Awaitable[Accepted]]
    """Take responsibility for a message (shared/flow/accept.py says what it raises)."""

    reverse_name: Callable[[str], Awaitable[str]]
    """The name of an address in the DNS, or an empty string; never waits long."""

    find_inward: Callable[[str], Awaitable[Inward | InwardRefusal | None]]
    """What a checked address is to us (shared/flow/find_inward.py)."""

    authenticate: Callable[[bytes, str, Origin], Awaitable[tuple[bytes, bytes, str]]]
    """Authentication-Results, the mail to put them on, and what they say; raises MalformedMessage."""

    inspect: Callable[[ScannedMail], Awaitable[Inspection]]
    """What the scanners say of a mail; never fails, and takes its time (smtp_node/scan/scanning.py)."""

    rule: Callable[[Route, Inspection], Awaitable[Ruled]]
    """What becomes of a mail for a route (shared/flow/rule.py)."""

    take_in: Callable[[Incoming], Awaitable[Message | None]]
    """Take responsibility for a mail to an address of ours (shared/flow/take_incoming.py)."""

    clock: Clock


def inside(
    using: Acceptance,
    *,
    tokens: TokenSource,
    authentication: Authentication,
    scanning: Scanning,
    clock: Clock,
    resolver: Resolver,
) -> Inside:
    """Return the door's way into the real flow."""
    directory = using.directory
    records = using.stores.records
    finding = Finding(using.settings, directory, Servers(records), Routes(records), tokens)
    receiving = Receiving.beside(using, tokens)

    async def by_key(key: str) -> Grant:
        return Grant(*await authenticate(CredentialType.SMTP, key, directory=directory, now=clock()))

    async def by_network(address: str) -> Grant | None:
        found = await authenticate_network(address, directory=directory, now=clock())
        return found and Grant(*found)

    async def current(grant: Grant) -> Grant | None:
        server_id = grant.credential.server_id
        tenant = await directory.tenant(server_id)
        credential = await directory.credential(server_id, grant.credential.id)
        return Grant(tenant, credential) if tenant and credential else None

    async def accept_now(submission: Submission) -> Accepted:
        return await accept(submission, using=using, now=clock())

    async def find(address: str) -> Inward | InwardRefusal | None:
        return await find_inward(address, using=finding)

    async def authenticate_mail(raw: bytes, mail_from: str, origin: Origin) -> tuple[bytes, bytes, str]:
        field, clean, results = await authentication.stated(raw, Envelope(origin.address, origin.helo, mail_from))
        return field, clean, results.to_text(authentication.authserv_id)

    async def rule_on(route: Route, inspection: Inspection) -> Ruled:
        return await rule(route, inspection, directory=directory)

    async def take_in(incoming: Incoming) -> Message | None:
        return await take_incoming(incoming, using=receiving, now=clock())

    return Inside(
        by_key=by_key,
        by_network=by_network,
        current=current,
        accept=accept_now,
        reverse_name=ReverseNames(resolver).of,
        find_inward=find,
        authenticate=authenticate_mail,
        inspect=scanning.inspect,
        rule=rule_on,
        take_in=take_in,
        clock=clock,
    )
