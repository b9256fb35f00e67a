"""Suppressions in the records: one item for each address and scope, found by its key alone.

Whether an address is suppressed is one ``get_many`` of at most three keys a recipient,
however long the lists are.  An entry that was taken off stays, inactive, with its
history.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import StorageUnavailable
from shared.domain.ids import OrganizationId, ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.suppression import Change, Reason, Scope, Suppression, folded
from shared.domain.tenancy import Tenant
from shared.ports import Absent, Delete, Equals, Item, Key, Put, Records, Value
from shared.store.items import flag, moment, moment_or_none, number, rows, text
from shared.store.keys import SUPPRESSION_SHARDS, hard_failure_key, suppression_key, suppression_partition
from shared.store.paging import every

HISTORY_KEPT = timedelta(days=400)
"""How long an entry that no longer holds is kept for those who ask."""

MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    """Some entries of an owner, in the order of their partitions."""

    entries: Sequence[Suppression]
    cursor: str | None
    """Pass to the next call; None at the end."""


class Suppressions:
    """The lists of all organizations, servers and streams."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def holding(
        self, tenant: Tenant, stream: str, addresses: Iterable[str], now: datetime
    ) -> Mapping[str, Suppression]:
        """Return what holds mail to each of these addresses, by address as given; the widest scope wins.

        One ``get_many``, whatever the lists hold.
        """
        scopes = [Scope(tenant.organization.id, organization=True), Scope(tenant.server.id)]
        if stream:
            scopes.append(Scope(tenant.server.id, stream=stream))
        wanted = {address: folded(address) for address in addresses}
        keys = [_key(scope, address) for address in wanted.values() for scope in scopes]
        found = await self._records.get_many(keys)
        holding: dict[str, Suppression] = {}
        for given, address in wanted.items():
            entries = [_from_item(found[key]) for scope in scopes if (key := _key(scope, address)) in found]
            entry = next((each for each in entries if each.holds(now)), None)
            if entry is not None:
                holding[given] = entry
        return holding

    async def get(self, scope: Scope, address: str) -> Suppression | None:
        """Return the entry, on the list or taken off it, or None."""
        item = await self._records.get(_key(scope, folded(address)))
        return None if item is None else _from_item(item)

    async def get_many(self, scope: Scope, addresses: Sequence[str]) -> Mapping[str, Suppression]:
        """Return those of the entries that exist, by folded address."""
        found = await self._records.get_many([_key(scope, address) for address in addresses])
        entries = [_from_item(item) for item in found.values()]
        return {each.address: each for each in entries}

    async def replace(self, old: Suppression | None, new: Suppression) -> bool:
        """Store the entry in place of the one that was read; False if somebody changed it meanwhile."""
        unchanged = Absent() if old is None else Equals("version", _version(old))
        return await self._records.put(Put(_key(new.scope, new.address), _to_item(new), _expiry(new), (unchanged,)))

    async def put_many(self, entries: Sequence[Suppression]) -> None:
        """Store many entries, whatever was there.  Twice: the same."""
        await self._records.put_many([Put(_key(e.scope, e.address), _to_item(e), _expiry(e)) for e in entries])

    async def page(self, scope: Scope, cursor: str | None = None, *, limit: int = 100) -> SuppressionPage:
        """Return some entries of the scope's owner, streams and inactive ones included, and the next ones' cursor."""
        shard, _, inner = (cursor or "0").partition(":")
        at = int(shard)
        page = await self._records.query(
            suppression_partition(scope.owner, scope.owner_id, at), limit=limit, cursor=inner or None
        )
        entries = [_from_item(item) for _, item in page.items]
        if page.cursor is not None:
            return SuppressionPage(entries, f"{at}:{page.cursor}")
        return SuppressionPage(entries, str(at + 1) if at + 1 < SUPPRESSION_SHARDS else None)

    async def remove_all(self, scope: Scope) -> None:
        """Remove everything of the scope's owner, streams and histories included.  Twice: nothing more."""
        async for entry in every(lambda cursor: self._entries(scope, cursor)):
            await self._records.delete(Delete(_key(entry.scope, entry.address)))

    async def _entries(self, scope: Scope, cursor: str | None) -> tuple[Sequence[Suppression], str | None]:
        page = await self.page(scope, cursor)
        return page.entries, page.cursor

    async def count_hard_failure(
        self, server_id: ServerId, address: str, source: str, *, window: timedelta, now: datetime
    ) -> int:
        """Note a hard failure and return how many there were within the window.  Twice: counted once.

        Raises:
            StorageUnavailable: others were counting for the same address.
        """
        key = hard_failure_key(server_id, folded(address))
        for _ in range(MAX_TRIES):
            item = await self._records.get(key)
            before = [] if item is None else [(at, name) for at, name in _failures(item) if at > to_ms(now - window)]
            if any(name == source for _, name in before):
                return len(before)
            after = [*before, (to_ms(now), source)][-10:]
            new: Item = {"version": 1 if item is None else number(item, "version") + 1}
            new["failures"] = [[at, name] for at, name in after]
            unchanged = Absent() if item is None else Equals("version", number(item, "version"))
            if await self._records.put(Put(key, new, now + window, (unchanged,))):
                return len(after)
        raise StorageUnavailable("others were noting failures of the same address")


def _key(scope: Scope, address: str) -> Key:
    return suppression_key(scope.owner, scope.owner_id, address, scope.stream)


def _version(entry: Suppression) -> str:
    """Return what differs after each change: its number in the history may not, once that is full."""
    last = entry.history[-1]
    return f"{to_ms(last.at)}#{last.added}#{last.source}#{len(entry.history)}"


def _expiry(entry: Suppression) -> datetime | None:
    if not entry.active:
        return entry.history[-1].at + HISTORY_KEPT
    return None if entry.until is None else entry.until + HISTORY_KEPT


def _failures(item: Item) -> Sequence[tuple[int, str]]:
    return [(row[0], row[1]) for row in rows(item, "failures") if isinstance(row, list) and _is_failure(row)]  # type: ignore[misc]  # _is_failure looked


def _is_failure(row: list[Value]) -> bool:
    return len(row) == 2 and isinstance(row[0], int) and isinstance(row[1], str)


def _to_item(entry: Suppression) -> Item:
    return {
        "owner": entry.scope.owner,
        "owner_id": entry.scope.owner_id,
        "stream": entry.scope.stream,
        "address": entry.address,
        "reason": entry.reason.value,
        "added_at": to_ms(entry.added_at),
        "source": entry.source,
        "detail": entry.detail,
        "until": to_ms_or_zero(entry.until),
        "active": entry.active,
        "version": _version(entry),
        "history": [_row(change) for change in entry.history],
    }


def _row(change: Change) -> Value:
    return {
        "at": to_ms(change.at),
        "added": change.added,
        "reason": change.reason.value,
        "source": change.source,
        "detail": change.detail,
    }


def _from_item(item: Item) -> Suppression:
    organization = text(item, "owner") == "o"
    owner = number(item, "owner_id")
    owner_id = OrganizationId(owner) if organization else ServerId(owner)
    return Suppression(
        scope=Scope(owner_id, organization=organization, stream=text(item, "stream")),
        address=text(item, "address"),
        reason=Reason(text(item, "reason")),
        added_at=moment(item, "added_at"),
        source=text(item, "source"),
        detail=text(item, "detail"),
        until=moment_or_none(item, "until"),
        active=flag(item, "active"),
        history=tuple(_change(row) for row in rows(item, "history") if isinstance(row, dict)),
    )


def _change(row: Item) -> Change:
    return Change(
        at=moment(row, "at"),
        added=flag(row, "added"),
        reason=Reason(text(row, "reason")),
        source=text(row, "source"),
        detail=text(row, "detail"),
    )
