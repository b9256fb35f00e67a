"""Events: one envelope for everything that happens to a message, a domain or a server.

The same happening always has the same id, however often it is reported, so a
consumer can tell a new event from a repeated one.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.domain.errors import InvalidValue
from shared.domain.ids import MessageId, ServerId
from shared.domain.message import Delivery, Direction, Message, Status
from shared.domain.moments import from_ms, to_ms

VERSION = 1
_NAMESPACE = uuid.UUID("5d0c1a64-2c1b-5f0e-9a57-0f6a3b0f9e21")


class EventKind(StrEnum):
    """What happened."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    DELAYED = "delayed"
    FAILED = "failed"
    HELD = "held"
    HOLD_CANCELLED = "hold_cancelled"
    POSTPONED = "postponed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    RECEIVED = "received"
    SUPPRESSION_ADDED = "suppression_added"
    SUPPRESSION_REMOVED = "suppression_removed"
    SERVER_SUSPENDED = "server_suspended"
    ENDPOINT_DISABLED = "endpoint_disabled"
    DOMAIN_ERROR = "domain_error"
    LIMIT_APPROACHING = "limit_approaching"
    LIMIT_EXCEEDED = "limit_exceeded"


_KIND_OF_STATUS = {
    Status.SENT: EventKind.DELIVERED,
    Status.SOFT_FAIL: EventKind.DELAYED,
    Status.HARD_FAIL: EventKind.FAILED,
    Status.HELD: EventKind.HELD,
    Status.HOLD_CANCELLED: EventKind.HOLD_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: to one message in one attempt, or to what ``subject`` names."""

    kind: EventKind
    server_id: ServerId
    message_id: MessageId
    """0 where no message is concerned."""

    attempt: int
    at: datetime
    details: str = ""
    output: str = ""
    subject: str = ""
    """Tells happenings of one kind and attempt apart: a pixel hit, a domain, an endpoint; at most 200 characters."""

    # Any: what an event of this kind tells beside its text, as JSON; docs/events.md has the schemas.
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> uuid.UUID:
        """The same for the same happening."""
        name = f"{self.server_id}:{self.message_id}:{self.attempt}:{self.kind.value}"
        return uuid.uuid5(_NAMESPACE, f"{name}:{self.subject}" if self.subject else name)

    def to_json(self) -> str:
        """Return the wire form, which is versioned because old events outlive an upgrade."""
        optional = {"subject": self.subject, "data": dict(self.data)}
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
                **{name: value for name, value in optional.items() if value},
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
                subject=str(body.get("subject", "")),
                data=dict(body.get("data", {})),
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidValue("this is not an event") from exc


def tells(delivery: Delivery) -> bool:
    """Whether the row is an event; as in Postal, mail that was only taken in is none."""
    return delivery.status in _KIND_OF_STATUS


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
        data=_evidence(delivery) | _circumstances(message, delivery),
    )


def _circumstances(message: Message, delivery: Delivery) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if message.direction is Direction.INCOMING:
        # It is counted apart: what an endpoint refused is no failed delivery to the world.
        found["direction"] = message.direction.value
    if message.released and delivery.status is Status.SENT:
        # What a person let go and arrived has proved the address: shared.flow.follow.
        found["released"] = True
    return found


def _evidence(delivery: Delivery) -> dict[str, Any]:
    """Return what was seen on the wire, as far as anything was."""
    seen = delivery.evidence
    found = {
        "code": seen.smtp_code,
        "enhanced": seen.enhanced_code,
        "mx": seen.mx,
        "tls": bool(seen.tls),
        "took_ms": None if delivery.duration is None else delivery.duration // timedelta(milliseconds=1),
    }
    return {name: value for name, value in found.items() if value not in ("", False, None)}
