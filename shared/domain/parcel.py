"""A parcel: notices that travel together to one endpoint.  It is what the webhooks queue carries.

::

    {"v": 1, "parcel": "…", "server": 7, "endpoint": 12, "packed": 17…, "attempt": 1, "notices": [{…}, …]}

A parcel's id is made from what it holds, so the same notices packed again for the
same endpoint are the same parcel, and its record tells what was delivered.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.errors import InvalidValue
from shared.domain.ids import EndpointId, ServerId
from shared.domain.moments import from_ms, to_ms
from shared.domain.notice import Notice

VERSION = 1
MAX_NOTICES = 25
MAX_BYTES = 64_000
"""SQS counts each 64 KiB as a request; a single larger notice still travels, alone."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some notices for one endpoint, and which attempt to deliver them is next."""

    id: str
    server_id: ServerId
    endpoint_id: EndpointId
    packed_at: datetime
    attempt: int
    notices: Sequence[Notice]

    def following(self, left: Sequence[str]) -> "Parcel":
        """Return the parcel of the next attempt, with the notices whose event ids are left."""
        kept = [notice for notice in self.notices if str(notice.event.id) in left]
        return replace(self, attempt=self.attempt + 1, notices=kept)

    def to_json(self) -> str:
        """Return the wire form."""
        names = {
            "v": VERSION,
            "parcel": self.id,
            "server": self.server_id,
            "endpoint": self.endpoint_id,
            "packed": to_ms(self.packed_at),
            "attempt": self.attempt,
        }
        head = json.dumps(names, separators=(",", ":")).removesuffix("}")
        return f'{head},"notices":[{",".join(notice.to_json() for notice in self.notices)}]}}'

    @classmethod
    def from_json(cls, text: str) -> "Parcel":
        """Read the wire form.

        Raises:
            InvalidValue: not a parcel, or of a version this release does not know.
        """
        try:
            body = json.loads(text)
            if body["v"] != VERSION:
                raise InvalidValue(f"parcel version {body['v']} is not {VERSION}")
            return cls(
                id=str(body["parcel"]),
                server_id=ServerId(int(body["server"])),
                endpoint_id=EndpointId(int(body["endpoint"])),
                packed_at=from_ms(int(body["packed"])),
                attempt=int(body["attempt"]),
                notices=[Notice.of_document(each) for each in body["notices"]],
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidValue("this is not a parcel") from exc


def pack(notices: Sequence[Notice], endpoint_id: EndpointId, *, again_at: datetime | None = None) -> Iterator[Parcel]:
    """Yield parcels with all the notices, which are of one server, in their order.

    Args:
        notices: each event once.
        endpoint_id: whom they are for.
        again_at: when somebody asked for them to be sent once more, in parcels of their own.
    """
    some: list[Notice] = []
    size = 0
    for notice in notices:
        length = len(notice.to_json())  # ASCII: a byte each
        if some and (len(some) == MAX_NOTICES or size + length > MAX_BYTES):
            yield _parcel(some, endpoint_id, again_at)
            some, size = [], 0
        some.append(notice)
        size += length
    if some:
        yield _parcel(some, endpoint_id, again_at)


def _parcel(notices: Sequence[Notice], endpoint_id: EndpointId, again_at: datetime | None) -> Parcel:
    names = [str(endpoint_id), again_at.isoformat() if again_at else "", *(str(notice.event.id) for notice in notices)]
    made = hashlib.sha256("\n".join(names).encode()).hexdigest()[:20]
    # The moment is the events' own, so that the same parcel has the same place.
    packed_at = again_at or max(notice.event.at for notice in notices)
    return Parcel(made, notices[0].event.server_id, endpoint_id, packed_at, 1, notices)
