"""Credentials: keys for the API and SMTP, and networks that may send without one."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.credentials import KEY_LENGTH, key_hash, network
from shared.domain.errors import InvalidValue, NameTaken, NotFound, StorageUnavailable
from shared.domain.ids import CredentialId, ServerId, draw_owner_id, draw_token
from shared.domain.names import check_name
from shared.domain.tenancy import Credential, CredentialType, Server
from shared.ports import Records
from shared.store.credentials import Credentials
from shared.store.paging import every

MAX_ID_DRAWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """What somebody says about the credential to make."""

    type: CredentialType
    name: str
    hold: bool = False
    network: str = ""
    """For SMTP-IP alone."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential with its key, which is shown once and stored nowhere."""

    credential: Credential
    key: str = field(repr=False)
    """For SMTP-IP the network, as Postal has it."""


async def create_credential(
    wanted: NewCredential, *, server: Server, records: Records, rng: random.Random, now: datetime
) -> Issued:
    """Make a credential.  Twice: two of them; the same network twice is refused.

    Args:
        wanted: what it shall be.
        server: whose it is.
        records: where it will lie.
        rng: the system's randomness, because keys are drawn from it.
        now: the present moment.

    Raises:
        InvalidValue: a name or network that cannot be used, or a network where none belongs.
        NameTaken: another credential has the network.
    """
    name = check_name(wanted.name)
    by_network = wanted.type is CredentialType.SMTP_IP
    if bool(wanted.network) != by_network:
        raise InvalidValue("an SMTP-IP credential needs a network, such as 192.0.2.0/24; the other types have none")
    cidr = network(wanted.network) if by_network else ""
    store = Credentials(records)
    for _ in range(MAX_ID_DRAWS):
        issued = issue(wanted.type, name, server_id=server.id, cidr=cidr, hold=wanted.hold, rng=rng, now=now)
        if await store.add(issued.credential):
            return issued
        if cidr and await store.by_networks([cidr]) is not None:
            raise NameTaken(f"another credential has the network {cidr}")
    raise StorageUnavailable(f"the server {server.permalink} is gone, or no free id was found")


def issue(
    kind: CredentialType,
    name: str,
    *,
    server_id: ServerId,
    cidr: str = "",
    hold: bool = False,
    key: str = "",
    rng: random.Random,
    now: datetime,
) -> Issued:
    """Return a credential, not stored yet; a key is drawn unless one is given or a network stands for it."""
    shown = cidr or key or draw_token(rng, KEY_LENGTH)
    credential = Credential(
        id=CredentialId(draw_owner_id(rng)),
        server_id=server_id,
        type=kind,
        name=name,
        hold=hold,
        created_at=now,
        key_hash="" if cidr else key_hash(shown),
        network=cidr,
    )
    return Issued(credential, shown)


async def find_credential(server: Server, credential_id: int, *, records: Records) -> Credential:
    """Return a credential of that server.

    Raises:
        NotFound: the server has none with that id.
    """
    credential = await Credentials(records).get(server.id, CredentialId(credential_id))
    if credential is None:
        raise _gone(server, credential_id)
    return credential


async def list_credentials(
    server: Server, *, records: Records, cursor: str | None = None
) -> tuple[Sequence[Credential], str | None]:
    """Return some credentials of a server and the cursor of the next ones, None at the end."""
    return await Credentials(records).page(server.id, cursor)


async def update_credential(
    server: Server, credential_id: int, *, name: str | None = None, hold: bool | None = None, records: Records
) -> Credential:
    """Change name or hold; a key never changes.

    Raises:
        InvalidValue: the name cannot be used.
        NotFound: the server has no such credential.
    """
    name = None if name is None else check_name(name)
    credential = await find_credential(server, credential_id, records=records)
    changed = await Credentials(records).change(credential, name=name, hold=hold)
    if changed is None:
        raise _gone(server, credential_id)
    return changed


async def delete_credential(server: Server, credential_id: int, *, records: Records) -> None:
    """Remove a credential; doors refuse its key within five seconds.

    Raises:
        NotFound: the server has no such credential.
    """
    await Credentials(records).remove(await find_credential(server, credential_id, records=records))


async def remove_credentials(server: Server, *, records: Records) -> None:
    """Remove all credentials of a server, one after another.  Twice: nothing more."""
    store = Credentials(records)
    async for credential in every(lambda cursor: store.page(server.id, cursor)):
        await store.remove(credential)


def _gone(server: Server, credential_id: int) -> NotFound:
    return NotFound(f"the server {server.permalink} has no credential with the id {credential_id}")
