"""A notice: an event with what its reader must know of the message or server it concerns.

A notice carries nothing that changes later, so that every attempt to deliver it
sends the same bytes, and the node of the last attempt needs to read nothing.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain.errors import InvalidValue
from shared.domain.event import Event
from shared.domain.message import Message, SpamStatus
from shared.domain.moments import to_ms
from shared.domain.tenancy import Tenant

_NAMESPACE = uuid.UUID("0b9f3c0e-6a0d-5c53-8f0c-6c0f5a1d7b42")


@dataclass(frozen=True, slots=True)
class Notice:
    """What the endpoints of a server are told."""

    event: Event

    # Any: facts as JSON; ``message_facts`` and ``server_facts`` list them.
    message: Mapping[str, Any] | None = None
    """None where no message is concerned, or it is no longer kept."""

    server: Mapping[str, Any] | None = None
    """Only where the event concerns no message."""

    written: str = field(default="", compare=False, repr=False)
    """Its wire form, if it was made already."""

    def to_json(self) -> str:
        """Return the form in which it travels inside a parcel, in ASCII."""
        if self.written:
            return self.written
        parts = [f'"event":{self.event.to_json()}']
        for name, facts in (("message", self.message), ("server", self.server)):
            if facts is not None:
                parts.append(f'"{name}":{json.dumps(facts, separators=(",", ":"))}')
        return f"{{{','.join(parts)}}}"

    def prepared(self) -> "Notice":
        """Return it with its wire form: many endpoints get the same."""
        return replace(self, written=self.to_json())

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Notice":
        """Read it again.

        Raises:
            InvalidValue: this is no notice.
        """
        try:
            event = Event.from_json(json.dumps(document["event"]))
            return cls(event, document.get("message"), document.get("server"))
        except (KeyError, TypeError, AttributeError) as exc:
            raise InvalidValue("this is not a notice") from exc


def message_facts(message: Message) -> dict[str, Any]:
    """Return what is told of a message, which does not change once it was inspected."""
    facts: dict[str, Any] = {
        "id": message.id,
        "token": message.token,
        "direction": message.direction.value,
        "message_id": message.message_id,
        "to": message.rcpt_to,
        "from": message.mail_from,
        "subject": message.subject,
        "at": to_ms(message.accepted_at),
    }
    optional = {
        "tag": message.tag,
        "metadata": dict(message.metadata),
        "test": message.test_mode,
        "spam_status": "" if message.spam_status is SpamStatus.NOT_CHECKED else message.spam_status.value,
    }
    return facts | {name: value for name, value in optional.items() if value}


def server_facts(tenant: Tenant) -> dict[str, Any]:
    """Return what is told of a server (Postal: server.rb, webhook_hash)."""
    return {
        "uuid": str(uuid.uuid5(_NAMESPACE, f"server:{tenant.server.id}")),
        "name": tenant.server.name,
        "permalink": tenant.server.permalink,
        "organization": tenant.organization.permalink,
    }


def domain_uuid(server_id: int, name: str) -> str:
    """Return the id under which a domain of a server is told of."""
    return str(uuid.uuid5(_NAMESPACE, f"domain:{server_id}:{name}"))
