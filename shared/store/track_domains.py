"""Tracking domains in the records: in their server's list, and a pointer that keeps each name unique."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.dns_check import DNSStatus
from shared.domain.ids import ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.tracking import TrackDomain
from shared.domain.tracking_check import TrackCheck
from shared.ports import Absent, Delete, Equals, Exists, Item, Put, Records, Update
from shared.store.items import flag, moment, moment_or_none, number, rows, text
from shared.store.keys import server_key, track_domain_key, track_host_key

MOST = 100
"""Tracking domains of one server: they are read together with every message."""

_LISTED = "track-domain#"
_LISTED_END = "track-domain$"
"""The text right after everything that starts with ``track-domain#``."""


class TrackDomains:
    """Reads and writes tracking domains."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, domain: TrackDomain) -> bool:
        """Store a new one; False if the name is taken or the server is gone."""
        pointer: Item = {"server_id": domain.server_id, "verified": domain.verified_at is not None}
        return await self._records.atomically(
            [
                Put(track_host_key(domain.name), pointer, when=[Absent()]),
                Put(track_domain_key(domain.server_id, domain.name), _to_item(domain)),
                Update(server_key(domain.server_id), set={"id": domain.server_id}, when=[Exists()]),
            ]
        )

    async def take_over(self, domain: TrackDomain, unverified: TrackDomain) -> bool:
        """Store a new one in place of another server's that never was verified; False if it is by now."""
        pointer: Item = {"server_id": domain.server_id, "verified": domain.verified_at is not None}
        claim = [Equals("server_id", unverified.server_id), Equals("verified", False)]
        return await self._records.atomically(
            [
                Put(track_host_key(domain.name), pointer, when=claim),
                Delete(track_domain_key(unverified.server_id, unverified.name)),
                Put(track_domain_key(domain.server_id, domain.name), _to_item(domain)),
                Update(server_key(domain.server_id), set={"id": domain.server_id}, when=[Exists()]),
            ]
        )

    async def by_host(self, name: str) -> TrackDomain | None:
        """Return the tracking domain of that name, whoever has it, or None."""
        pointer = await self._records.get(track_host_key(name))
        if pointer is None:
            return None
        item = await self._records.get(track_domain_key(number(pointer, "server_id"), name))
        return None if item is None else _from_item(item)

    async def of(self, server_id: ServerId) -> Sequence[TrackDomain]:
        """Return all tracking domains of a server by name."""
        partition = track_domain_key(server_id, "").partition
        found: list[TrackDomain] = []
        cursor: str | None = None
        while True:
            page = await self._records.query(partition, at_least=_LISTED, below=_LISTED_END, limit=MOST, cursor=cursor)
            found += [_from_item(item) for _, item in page.items]
            cursor = page.cursor
            if cursor is None:
                return found

    async def mark_verified(self, domain: TrackDomain, at: datetime, *, check_due: datetime) -> TrackDomain | None:
        """Note that its name may be used and return it as it is now; None if it is gone.

        The entry of the check must have been put.
        """
        key = track_domain_key(domain.server_id, domain.name)
        done = await self._records.atomically(
            [
                Update(key, set={"verified_at": to_ms(at), "check_due": to_ms(check_due)}, when=[Exists()]),
                Update(
                    track_host_key(domain.name),
                    set={"verified": True},
                    when=[Equals("server_id", domain.server_id)],
                ),
            ]
        )
        return replace(domain, verified_at=at, check_due=check_due) if done else None

    async def save_check(
        self, domain: TrackDomain, check: TrackCheck | None, due: datetime | None
    ) -> TrackDomain | None:
        """Store a new check, if there is one, and when the next is due; return the domain as it is now.

        None if it is gone, or somebody else stored a check since it was read.
        """
        attributes: Item = {"check_due": to_ms_or_zero(due)}
        if check is not None:
            attributes |= _check_item(check)
        # The moment of its making tells it from one of the same name that was added after this was removed.
        when = [
            Equals("created_at", to_ms(domain.created_at)),
            Equals("check_at", to_ms_or_zero(domain.check.at if domain.check else None)),
            Equals("check_due", to_ms_or_zero(domain.check_due)),
        ]
        key = track_domain_key(domain.server_id, domain.name)
        item = await self._records.update(Update(key, set=attributes, when=[Exists(), *when]))
        return None if item is None else _from_item(item)

    async def mark_told(self, domain: TrackDomain, check: TrackCheck) -> None:
        """Note that its server knows of this check.  Twice, or after a newer check: nothing more."""
        key, when = track_domain_key(domain.server_id, domain.name), [Equals("check_at", to_ms(check.at))]
        await self._records.update(Update(key, set={"check_told": True}, when=when))

    async def change(
        self,
        domain: TrackDomain,
        *,
        opens: bool | None = None,
        clicks: bool | None = None,
        excluded: Sequence[str] | None = None,
    ) -> TrackDomain | None:
        """Change what is given and return it as it is now; None if it is gone."""
        wanted: Item = {"opens": opens, "clicks": clicks, "excluded": None if excluded is None else list(excluded)}
        attributes: Item = {name: value for name, value in wanted.items() if value is not None}
        key = track_domain_key(domain.server_id, domain.name)
        item = await self._records.update(Update(key, set=attributes, when=[Exists()]))
        return None if item is None else _from_item(item)

    async def remove(self, domain: TrackDomain) -> None:
        """Remove it; its links lead nowhere from then on.  Twice: nothing more."""
        own = [Equals("server_id", domain.server_id)]
        removed = await self._records.atomically(
            [
                Delete(track_host_key(domain.name), when=own),
                Delete(track_domain_key(domain.server_id, domain.name)),
            ]
        )
        if not removed:
            # The name is another server's by now, or was freed before.
            await self._records.delete(Delete(track_domain_key(domain.server_id, domain.name)))


def _to_item(domain: TrackDomain) -> Item:
    return {
        "name": domain.name,
        "server_id": domain.server_id,
        "created_at": to_ms(domain.created_at),
        "sending_domain": domain.sending_domain,
        "verified_at": to_ms_or_zero(domain.verified_at),
        "trusted": domain.trusted,
        "clicks": domain.clicks,
        "opens": domain.opens,
        "excluded": list(domain.excluded),
        "check_due": to_ms_or_zero(domain.check_due),
        **({"check_at": 0} if domain.check is None else _check_item(domain.check)),
    }


def _check_item(check: TrackCheck) -> Item:
    return {
        "check_at": to_ms(check.at),
        "check_since": to_ms(check.since),
        "check_status": check.status.value,
        "check_error": check.error,
        "check_told": check.told,
    }


def _check_of(item: Item) -> TrackCheck | None:
    at = moment_or_none(item, "check_at")
    if at is None:
        return None
    return TrackCheck(
        at,
        moment(item, "check_since"),
        DNSStatus(text(item, "check_status")),
        text(item, "check_error"),
        told=flag(item, "check_told"),
    )


def _from_item(item: Item) -> TrackDomain:
    return TrackDomain(
        name=text(item, "name"),
        server_id=ServerId(number(item, "server_id")),
        created_at=moment(item, "created_at"),
        sending_domain=text(item, "sending_domain"),
        verified_at=moment_or_none(item, "verified_at"),
        trusted=flag(item, "trusted"),
        clicks=flag(item, "clicks"),
        opens=flag(item, "opens"),
        excluded=tuple(str(each) for each in rows(item, "excluded")),
        check=_check_of(item),
        check_due=moment_or_none(item, "check_due"),
    )
