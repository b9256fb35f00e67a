"""Who is at the door: a key or a network becomes a tenant and its credential."""

from datetime import datetime

from shared.domain.errors import BadCredentials
from shared.domain.tenancy import Credential, CredentialType, Tenant
from shared.store.directory import Directory


async def authenticate(
    kind: CredentialType, key: str, *, directory: Directory, now: datetime
) -> tuple[Tenant, Credential]:
    """Return whose key this is, and note its use.

    A suspended tenant is let in: each door says in its own words what it refuses then.

    Raises:
        BadCredentials: no such key, or it opens another door.
    """
    found = await directory.by_key(kind, key)
    if found is None:
        raise BadCredentials("the key is not valid here")
    tenant, credential = found
    await directory.touch(credential, now)
    return tenant, credential


async def authenticate_network(
    address: str, *, directory: Directory, now: datetime
) -> tuple[Tenant, Credential] | None:
    """Return whose SMTP-IP credential covers the client's address, or None."""
    found = await directory.by_network(address)
    if found is not None:
        await directory.touch(found[1], now)
    return found
