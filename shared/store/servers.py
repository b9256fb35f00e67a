"""Servers in the records: the item, its place in the organization's list, its unique permalink and token."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.ids import OrganizationId, ServerId
from shared.domain.moments import from_ms, to_ms, to_ms_or_zero
from shared.domain.names import Kind
from shared.domain.tenancy import Mode, Server, Shards
from shared.domain.thresholds import NONE, OutboundChange
from shared.ports import Absent, Delete, Exists, Item, Put, Records, Update, Value, Write
from shared.store.items import flag, hundredths, moment, moment_or_none, number, rows, text, to_hundredths
from shared.store.keys import organization_key, permalink_key, server_key, server_listing_key, server_token_key
from shared.store.suspended import suspended_delete, suspended_put


def server_puts(server: Server) -> Sequence[Write]:
    """Return the writes that make a server; as one group, they hold only if id, permalink and token are free."""
    return (
        Put(server_key(server.id), _to_item(server), when=[Absent()]),
        Put(server_listing_key(server.organization_id, server.id), {"id": server.id}),
        Put(permalink_key(Kind.SERVER, server.permalink), {"id": server.id}, when=[Absent()]),
        Put(server_token_key(server.token), {"id": server.id}, when=[Absent()]),
    )


class Servers:
    """Reads and writes servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, server: Server) -> bool:
        """Store a new server; False if its id, permalink or token is taken or its organization is gone."""
        owner = Update(organization_key(server.organization_id), set={"id": server.organization_id}, when=[Exists()])
        return await self._records.atomically([*server_puts(server), owner])

    async def get(self, server_id: ServerId) -> Server | None:
        """Return the server, or None."""
        item = await self._records.get(server_key(server_id))
        return None if item is None else _from_item(item)

    async def by_permalink(self, permalink: str) -> Server | None:
        """Return the server with that permalink, or None."""
        owner = await self._records.get(permalink_key(Kind.SERVER, permalink))
        return None if owner is None else await self.get(ServerId(number(owner, "id")))

    async def by_token(self, token: str) -> Server | None:
        """Return the server with that token, in whatever case, or None."""
        owner = await self._records.get(server_token_key(token.lower()))
        return None if owner is None else await self.get(ServerId(number(owner, "id")))

    async def page(
        self, organization_id: OrganizationId, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[Sequence[Server], str | None]:
        """Return some servers of an organization by id, and the cursor of the next ones, None at the end."""
        listing = server_listing_key(organization_id, 0).partition
        page = await self._records.query(listing, limit=limit, cursor=cursor)
        keys = [server_key(number(item, "id")) for _, item in page.items]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found], page.cursor

    async def ids(
        self, organization_id: OrganizationId, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[Sequence[ServerId], str | None]:
        """Return the ids of some servers of an organization, and the cursor of the next ones, None at the end."""
        listing = server_listing_key(organization_id, 0).partition
        page = await self._records.query(listing, limit=limit, cursor=cursor)
        return [ServerId(number(item, "id")) for _, item in page.items], page.cursor

    async def change(
        self,
        server: Server,
        *,
        name: str | None = None,
        mode: Mode | None = None,
        allow_sender: bool | None = None,
        privacy_mode: bool | None = None,
        ip_pool: str | None = None,
        shared_tracking: bool | None = None,
        spam_threshold: float | None = None,
        spam_failure_threshold: float | None = None,
        outbound_spam_threshold: OutboundChange = None,
    ) -> Server | None:
        """Change what is given and return the server as it is now; None if it is gone."""
        wanted: Item = {
            "name": name,
            "mode": None if mode is None else mode.value,
            "allow_sender": allow_sender,
            "privacy_mode": privacy_mode,
            "ip_pool": ip_pool,
            "shared_tracking": shared_tracking,
            "spam_threshold": _hundredths_or_none(spam_threshold),
            "spam_failure_threshold": _hundredths_or_none(spam_failure_threshold),
        }
        changes: Item = {key: value for key, value in wanted.items() if value is not None}
        if outbound_spam_threshold is not None:
            wanted_threshold = None if outbound_spam_threshold == NONE else outbound_spam_threshold
            changes["outbound_spam_threshold"] = _hundredths_or_none(wanted_threshold)
        return await self._change(server, changes)

    async def set_shards(self, server: Server, shards: Sequence[Shards]) -> Server | None:
        """Replace the list of shards by a longer one; None if the server is gone."""
        return await self._change(server, {"shards": _shards_value(shards)})

    async def suspend(self, server: Server, at: datetime, reason: str) -> Server | None:
        """Suspend it; None if it is gone."""
        suspension: Item = {"suspended_at": to_ms(at), "suspension_reason": reason}
        return await self._change(server, suspension, suspended_put(server.id))

    async def unsuspend(self, server: Server) -> Server | None:
        """Lift the suspension; None if it is gone."""
        return await self._change(server, {"suspended_at": 0, "suspension_reason": ""}, suspended_delete(server.id))

    async def remove(self, server: Server) -> None:
        """Remove it and free its permalink; its domains and credentials must be gone.  Twice: nothing more."""
        await self._records.atomically(
            [
                Delete(server_key(server.id)),
                Delete(server_listing_key(server.organization_id, server.id)),
                Delete(permalink_key(Kind.SERVER, server.permalink)),
                Delete(server_token_key(server.token)),
                suspended_delete(server.id),
            ]
        )

    async def _change(self, server: Server, attributes: Item, *others: Write) -> Server | None:
        change = Update(server_key(server.id), set=attributes, when=[Exists()])
        if others:
            return await self.get(server.id) if await self._records.atomically([change, *others]) else None
        item = await self._records.update(change)
        return None if item is None else _from_item(item)


def _to_item(server: Server) -> Item:
    return {
        "id": server.id,
        "organization_id": server.organization_id,
        "name": server.name,
        "permalink": server.permalink,
        "token": server.token,
        "mode": server.mode.value,
        "created_at": to_ms(server.created_at),
        "shards": _shards_value(server.shards),
        "allow_sender": server.allow_sender,
        "privacy_mode": server.privacy_mode,
        "ip_pool": server.ip_pool,
        "shared_tracking": server.shared_tracking,
        "spam_threshold": to_hundredths(server.spam_threshold),
        "spam_failure_threshold": to_hundredths(server.spam_failure_threshold),
        "outbound_spam_threshold": _hundredths_or_none(server.outbound_spam_threshold),
        "suspended_at": to_ms_or_zero(server.suspended_at),
        "suspension_reason": server.suspension_reason,
    }


def _from_item(item: Item) -> Server:
    return Server(
        id=ServerId(number(item, "id")),
        organization_id=OrganizationId(number(item, "organization_id")),
        name=text(item, "name"),
        permalink=text(item, "permalink"),
        token=text(item, "token"),
        mode=Mode(text(item, "mode")),
        created_at=moment(item, "created_at"),
        shards=tuple(_shards(row) for row in rows(item, "shards")),
        allow_sender=flag(item, "allow_sender"),
        privacy_mode=flag(item, "privacy_mode"),
        ip_pool=text(item, "ip_pool"),
        shared_tracking=flag(item, "shared_tracking"),
        spam_threshold=hundredths(item, "spam_threshold"),
        spam_failure_threshold=hundredths(item, "spam_failure_threshold"),
        outbound_spam_threshold=(
            None if item.get("outbound_spam_threshold") is None else hundredths(item, "outbound_spam_threshold")
        ),
        suspended_at=moment_or_none(item, "suspended_at"),
        suspension_reason=text(item, "suspension_reason"),
    )


def _hundredths_or_none(value: float | None) -> int | None:
    return None if value is None else to_hundredths(value)


def _shards_value(shards: Sequence[Shards]) -> Value:
    return [[to_ms(each.since), each.count] for each in shards]


def _shards(row: Value) -> Shards:
    match row:
        case [int(since), int(count)]:
            return Shards(from_ms(since), count)
        case _:
            raise TypeError("attribute shards holds something else than pairs of numbers")
