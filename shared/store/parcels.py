"""What became of parcels: who may deliver one, which notices are left, and every attempt.

One item for each parcel: claimed and settled like a message (``store.messages``),
with the attempts as attributes ``a1``, ``a2``, …  The notices themselves travel on
the queue and lie in the schedule; the item names them only, so it stays small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from shared.domain.ids import EndpointId, ServerId
from shared.domain.moments import from_ms, to_ms
from shared.domain.parcel import Parcel
from shared.ports import Absent, Equals, Item, Key, LessThan, Put, Records, Update, Value
from shared.store.keys import parcel_key

KEPT = timedelta(days=10)
"""As long as Postal keeps its history of webhook requests; longer than any parcel is retried."""

MAX_ATTEMPTS = 24
"""Attempts an item keeps; further ones replace the last, so that no item grows for ever."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt to deliver one notice."""

    event_id: str
    name: str
    """What the endpoint's dialect calls the event."""

    status: int
    """HTTP; 0 if there was no answer."""

    took_ms: int
    answer: str
    """First characters of the answer's body, or why there was none."""

    at: datetime
    attempt: int

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class ParcelState:
    """The record of a parcel."""

    attempt: int
    """Number of the next claim."""

    fence: int
    lease_until: datetime
    left: Sequence[str] | None
    """Event ids that are still to be delivered; None before the first attempt ended; empty: done."""

    next_at: datetime | None


class Parcels:
    """The parcels of all endpoints."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def claim(self, parcel: Parcel, *, now: datetime, lease_until: datetime) -> ParcelState | None:
        """Take the parcel for its attempt; None if somebody has it, or the attempt is over.

        Twice: the second call finds the lease of the first.
        """
        key = _key(parcel)
        fresh: Item = {"attempt": 1, "fence": 1, "lease_until": to_ms(lease_until)}
        if parcel.attempt == 1 and await self._records.put(Put(key, fresh, now + KEPT, when=(Absent(),))):
            return _state(fresh)
        update = Update(
            key,
            set={"lease_until": to_ms(lease_until)},
            add={"fence": 1},
            when=(Equals("attempt", parcel.attempt), LessThan("lease_until", to_ms(now))),
        )
        item = await self._records.update(update)
        return None if item is None else _state(item)

    async def get(self, parcel: Parcel) -> ParcelState | None:
        """Return what is noted of a parcel, or None."""
        item = await self._records.get(_key(parcel))
        return None if item is None else _state(item)

    async def settle(
        self,
        parcel: Parcel,
        claimed: ParcelState,
        *,
        left: Sequence[str],
        next_at: datetime | None,
        tried: Sequence[Tried],
        now: datetime,
    ) -> ParcelState | None:
        """Write what an attempt ended in and free the lease; None if the claim was lost.

        Args:
            parcel: as it was claimed.
            claimed: as ``claim`` returned it.
            left: event ids that are to be tried again.
            next_at: when; None for never.
            tried: one for each notice that was sent.
            now: the moment of the attempt.
        """
        changes: Item = {
            "attempt": parcel.attempt + 1,
            "lease_until": 0,
            "left": list(left),
            "next_at": 0 if next_at is None else to_ms(next_at),
        }
        if tried:
            name = f"a{min(parcel.attempt, MAX_ATTEMPTS)}"
            changes[name] = {"at": to_ms(now), "n": parcel.attempt, "rows": [_row(each) for each in tried]}
        update = Update(
            _key(parcel),
            set=changes,
            expires_at=now + KEPT,
            when=(Equals("attempt", parcel.attempt), Equals("fence", claimed.fence)),
        )
        item = await self._records.update(update)
        return None if item is None else _state(item)

    async def extend_lease(self, parcel: Parcel, claimed: ParcelState, lease_until: datetime) -> None:
        """Keep a claimed parcel longer, unless somebody else has claimed or settled it since."""
        update = Update(
            _key(parcel),
            set={"lease_until": to_ms(lease_until)},
            when=(Equals("attempt", parcel.attempt), Equals("fence", claimed.fence)),
        )
        await self._records.update(update)

    async def attempts(
        self, server_id: ServerId, endpoint_id: EndpointId, cursor: str | None = None, *, limit: int = 20
    ) -> tuple[Sequence[Tried], str | None]:
        """Return the attempts of some parcels, newest parcel first, and the cursor of the next ones."""
        partition = parcel_key(server_id, endpoint_id, from_ms(0), "").partition
        page = await self._records.query(partition, newest_first=True, limit=limit, cursor=cursor)
        found = [each for _, item in page.items for each in _attempts(item)]
        return found, page.cursor


def _key(parcel: Parcel) -> Key:
    return parcel_key(parcel.server_id, parcel.endpoint_id, parcel.packed_at, parcel.id)


def _state(item: Item) -> ParcelState:
    stored = cast("dict[str, Any]", item)  # written by this class only
    next_at = stored.get("next_at", 0)
    return ParcelState(
        attempt=stored["attempt"],
        fence=stored["fence"],
        lease_until=from_ms(stored["lease_until"]),
        left=stored.get("left"),
        next_at=from_ms(next_at) if next_at else None,
    )


def _row(tried: Tried) -> list[Value]:
    return [tried.event_id, tried.name, tried.status, tried.took_ms, tried.answer]  # a list: items are paid for by size


def _attempts(item: Item) -> Sequence[Tried]:
    """Return the attempts of one parcel, the last first."""
    found: list[Tried] = []
    for number in range(MAX_ATTEMPTS, 0, -1):
        stored = cast("Mapping[str, Any]", item.get(f"a{number}") or {})
        for event_id, name, status, took_ms, answer in stored.get("rows", ()):
            found.append(Tried(event_id, name, status, took_ms, answer, from_ms(stored["at"]), stored["n"]))
    return found
