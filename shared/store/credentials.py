"""Credentials in the records: under the hash of their key or their network, and in their server's list."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.credentials import key_hash
from shared.domain.ids import CredentialId, ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.tenancy import Credential, CredentialType
from shared.ports import Absent, Delete, Exists, Item, Key, Put, Records, Update, Write
from shared.store.items import flag, moment, moment_or_none, number, text
from shared.store.keys import credential_key, credential_listing_key, network_key, server_key

_LISTED = "credential#"
_LISTED_END = "credential$"
"""The text right after everything that starts with ``credential#``."""


def credential_puts(credential: Credential) -> Sequence[Write]:
    """Return the writes that make a credential; as one group, they hold only if id and key or network are free."""
    where: Item = {"kind": credential.type.value, "key_hash": credential.key_hash, "network": credential.network}
    return (
        Put(_key(credential), _to_item(credential), when=[Absent()]),
        Put(credential_listing_key(credential.server_id, credential.id), where, when=[Absent()]),
    )


class Credentials:
    """Reads and writes credentials."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, credential: Credential) -> bool:
        """Store a new credential; False if its id, key or network is taken or its server is gone."""
        owner = Update(server_key(credential.server_id), set={"id": credential.server_id}, when=[Exists()])
        return await self._records.atomically([*credential_puts(credential), owner])

    async def get(self, server_id: ServerId, credential_id: CredentialId) -> Credential | None:
        """Return a credential of that server, or None."""
        listed = await self._records.get(credential_listing_key(server_id, credential_id))
        if listed is None:
            return None
        item = await self._records.get(_listed_key(listed))
        return None if item is None else _from_item(item)

    async def by_key(self, kind: CredentialType, key: str) -> Credential | None:
        """Return the API or SMTP credential with that key, or None."""
        item = await self._records.get(credential_key(kind.value, key_hash(key)))
        return None if item is None else _from_item(item)

    async def by_networks(self, networks: Sequence[str]) -> Credential | None:
        """Return the SMTP-IP credential of the first of the networks that has one, or None."""
        keys = [network_key(each) for each in networks]
        found = await self._records.get_many(keys)
        return next((_from_item(found[key]) for key in keys if key in found), None)

    async def page(
        self, server_id: ServerId, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[Sequence[Credential], str | None]:
        """Return some credentials of a server by id, and the cursor of the next ones, None at the end."""
        partition = credential_listing_key(server_id, 0).partition
        page = await self._records.query(partition, at_least=_LISTED, below=_LISTED_END, limit=limit, cursor=cursor)
        keys = [_listed_key(listed) for _, listed in page.items]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found], page.cursor

    async def change(
        self, credential: Credential, *, name: str | None = None, hold: bool | None = None
    ) -> Credential | None:
        """Change what is given and return the credential as it is now; None if it is gone."""
        wanted: Item = {"name": name, "hold": hold}
        changes: Item = {key: value for key, value in wanted.items() if value is not None}
        item = await self._records.update(Update(_key(credential), set=changes, when=[Exists()]))
        return None if item is None else _from_item(item)

    async def touch(self, credential: Credential, now: datetime) -> None:
        """Note the last use, unless the credential is gone."""
        await self._records.update(Update(_key(credential), set={"last_used_at": to_ms(now)}, when=[Exists()]))

    async def remove(self, credential: Credential) -> None:
        """Remove it.  Twice: nothing more."""
        await self._records.atomically(
            [
                Delete(_key(credential)),
                Delete(credential_listing_key(credential.server_id, credential.id)),
            ]
        )


def _key(credential: Credential) -> Key:
    if credential.type is CredentialType.SMTP_IP:
        return network_key(credential.network)
    return credential_key(credential.type.value, credential.key_hash)


def _listed_key(listed: Item) -> Key:
    network = text(listed, "network")
    return network_key(network) if network else credential_key(text(listed, "kind"), text(listed, "key_hash"))


def _to_item(credential: Credential) -> Item:
    return {
        "id": credential.id,
        "server_id": credential.server_id,
        "type": credential.type.value,
        "name": credential.name,
        "hold": credential.hold,
        "created_at": to_ms(credential.created_at),
        "key_hash": credential.key_hash,
        "network": credential.network,
        "last_used_at": to_ms_or_zero(credential.last_used_at),
    }


def _from_item(item: Item) -> Credential:
    return Credential(
        id=CredentialId(number(item, "id")),
        server_id=ServerId(number(item, "server_id")),
        type=CredentialType(text(item, "type")),
        name=text(item, "name"),
        hold=flag(item, "hold"),
        created_at=moment(item, "created_at"),
        key_hash=text(item, "key_hash"),
        network=text(item, "network"),
        last_used_at=moment_or_none(item, "last_used_at"),
    )
