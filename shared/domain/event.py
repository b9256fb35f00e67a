"""Events: one envelope for everything that happens to a message.

The same happening always has the same id, however often it is reported, so a
consumer can tell a new event from a repeated one.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.errors import InvalidValue
from shared.domain.ids import MessageId, ServerId
from shared.domain.message import Delivery, Message, Status
from shared.domain.moments import from_ms, to_ms

VERSION = 1
_NAMESPACE = uuid.UUID("5d0c1a64-2c1b-5f0e-9a57-0f6a3b0f9e21")


class EventKind(StrEnum):
    """What happened to the message."""

    DELIVERED = "delivered"
    DELAYED = "delayed"
    FAILED = "failed"
    HELD = "held"
    HOLD_CANCELLED = "hold_cancelled"


_KIND_OF_STATUS = {
    Status.SENT: EventKind.DELIVERED,
    Status.SOFT_FAIL: EventKind.DELAYED,
    Status.HARD_FAIL: EventKind.FAILED,
    Status.HELD: EventKind.HELD,
    Status.HOLD_CANCELLED: EventKind.HOLD_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one message in one attempt."""

    kind: EventKind
    server_id: ServerId
    message_id: MessageId
    attempt: int
    at: datetime
    details: str = ""
    output: str = ""

    @property
    def id(self) -> uuid.UUID:
        """The same for the same happening."""
        return uuid.uuid5(_NAMESPACE, f"{self.server_id}:{self.message_id}:{self.attempt}:{self.kind.value}")

    def to_json(self) -> str:
        """Return the wire form, which is versioned because old events outlive an upgrade."""
        return json.dumps(
            {
                "v": VERSION,
                "id": str(self.id),
                "kind": self.kind.value,
                "server": self.server_id,
                "message": self.message_id,
                "attempt": self.attempt,
                "at": to_ms(self.at),
                "details": self.details,
                "output": self.output,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "Event":
        """Read the wire form.

        Raises:
            InvalidValue: not an event, or of a version this release does not know.
        """
        try:
            body = json.loads(text)
            if body["v"] != VERSION:
                raise InvalidValue(f"event version {body['v']} is not {VERSION}")
            return cls(
                kind=EventKind(body["kind"]),
                server_id=ServerId(int(body["server"])),
                message_id=MessageId(int(body["message"])),
                attempt=int(body["attempt"]),
                at=from_ms(int(body["at"])),
                details=str(body["details"]),
                output=str(body["output"]),
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidValue("this is not an event") from exc


def event_of(message: Message, delivery: Delivery) -> Event:
    """Return the event that a delivery row reports."""
    return Event(
        kind=_KIND_OF_STATUS[delivery.status],
        server_id=message.server_id,
        message_id=message.id,
        attempt=delivery.attempt,
        at=delivery.at,
        details=delivery.details,
        output=delivery.output,
    )
