"""Idempotency keys: which ids a request was given, and whether it is done.

RFC draft-ietf-httpapi-idempotency-key-header §2: the same key with the same
request gets the same answer, with another request an error.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from shared.domain.ids import MessageId, ServerId
from shared.domain.inspection import NO_RULING, Inspection, Ruling
from shared.domain.message import SpamStatus
from shared.domain.moments import from_ms, to_ms
from shared.ports import Absent, Item, Key, Put, Records, Update, Value
from shared.store.items import to_hundredths
from shared.store.keys import reservation_key

KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the first request with the key was given; a repetition gets the same."""

    digest: str
    """Of the request: another one means another request."""

    message_id: str
    body_key: str
    recipients: Sequence[str]
    """As the caller wrote them."""

    ids: Sequence[MessageId]
    tokens: Sequence[str]
    at: datetime
    done: bool = False
    upload: str = ""
    """Which upload brought the request, and to which door; empty for none."""

    ruling: Ruling = NO_RULING
    """Of incoming mail: what the scanners said of it the first time.  Kept without the checks."""


class Reservations:
    """The idempotency keys of all servers."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, server_id: ServerId, key: str) -> Reservation | None:
        """Return what the key was given, or None if it is free."""
        item = await self._records.get(_key(server_id, key))
        return _reservation(item) if item else None

    async def put(self, server_id: ServerId, key: str, reservation: Reservation) -> bool:
        """Reserve the key; False if another request was first."""
        item: Item = {
            "digest": reservation.digest,
            "message_id": reservation.message_id,
            "body": reservation.body_key,
            "recipients": cast("Value", list(reservation.recipients)),
            "ids": cast("Value", list(reservation.ids)),
            "tokens": cast("Value", list(reservation.tokens)),
            "at": to_ms(reservation.at),
            "done": False,
        }
        if reservation.upload:
            item["upload"] = reservation.upload
        if reservation.ruling.inspection.inspected:
            item["ruling"] = _ruling_value(reservation.ruling)
        return await self._records.put(Put(_key(server_id, key), item, reservation.at + KEPT, when=(Absent(),)))

    async def finish(self, server_id: ServerId, key: str, ids: Sequence[MessageId]) -> None:
        """Note that everything the key promised is stored, under these ids."""
        done: Item = {"done": True, "ids": cast("Value", list(ids))}
        await self._records.update(Update(_key(server_id, key), set=done))


def _key(server_id: ServerId, key: str) -> Key:
    return reservation_key(server_id, hashlib.sha256(key.encode()).hexdigest())


def _reservation(item: Item) -> Reservation:
    stored = cast("dict[str, Any]", item)  # written by put only
    return Reservation(
        digest=stored["digest"],
        message_id=stored["message_id"],
        body_key=stored["body"],
        recipients=stored["recipients"],
        ids=stored["ids"],
        tokens=stored["tokens"],
        at=from_ms(stored["at"]),
        done=stored["done"],
        upload=stored.get("upload", ""),
        ruling=_ruling(*stored["ruling"]) if "ruling" in stored else NO_RULING,
    )


def _ruling_value(ruling: Ruling) -> Value:
    score = ruling.inspection.score
    hundredths = None if score is None else to_hundredths(score)
    return [hundredths, ruling.inspection.threat, ruling.status.value, ruling.failure]


def _ruling(hundredths: int | None, threat: str | None, status: str, failure: str) -> Ruling:
    score = None if hundredths is None else hundredths / 100
    return Ruling(Inspection(score, threat=threat), SpamStatus(status), failure)
