"""What the SMTP door needs from behind it, as five functions.

The door knows no store: ``inside`` binds them to the flow, tests to what they
like to record.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.domain.submission import Accepted, Submission
from shared.domain.tenancy import Credential, CredentialType, Tenant
from shared.flow.accept import Acceptance, accept
from shared.flow.authenticate import authenticate, authenticate_network
from shared.network import Resolver
from shared.ports import Clock
from smtp_node.receive.names import ReverseNames


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


def inside(using: Acceptance, *, clock: Clock, resolver: Resolver) -> Inside:
    """Return the door's way into the real flow."""
    directory = using.directory

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

    return Inside(by_key, by_network, current, accept_now, ReverseNames(resolver).of)
