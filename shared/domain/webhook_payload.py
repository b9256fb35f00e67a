"""The body of a webhook: the envelope, in the dialect that the endpoint speaks.

Both dialects have ``{"event", "timestamp", "payload", "uuid"}`` in this order, as
Postal (app/services/webhook_delivery_service.rb).  Postal's payloads: message.rb,
delivery.rb and the places that trigger; floats and key order as there.
"""

import json
from collections.abc import Mapping
from typing import Any

from shared.domain.edgepost_payload import domain_payload, limit_payload, payload_of, status_payload
from shared.domain.event import EventKind
from shared.domain.event_names import Dialect, event_name
from shared.domain.message import SpamStatus
from shared.domain.moments import to_ms
from shared.domain.notice import Notice

RAILS_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
"""ActiveSupport's to_json escapes these; they stand inside texts only, so the document stays the same."""


def webhook_body(notice: Notice, dialect: Dialect) -> bytes | None:
    """Return exactly what is sent and signed, or None if the dialect does not have the event.

    The same for the same notice, however often it is made.
    """
    name = event_name(notice.event.kind, dialect)
    # Postal tells of sending domains only.
    if name is None or (dialect is Dialect.POSTAL and "tracking_status" in notice.event.data):
        return None
    postal = dialect is Dialect.POSTAL
    envelope = {
        "event": name,
        "timestamp": to_ms(notice.event.at) / 1000,
        "payload": _postal_payload(notice) if postal else payload_of(notice),
        "uuid": str(notice.event.id),
    }
    text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    if postal:
        text = text.translate(RAILS_ESCAPES)
    return text.encode("utf-8", "replace")


# Any: payloads are JSON.
def _postal_payload(notice: Notice) -> dict[str, Any]:
    event = notice.event
    message = _postal_message(notice.message)
    visit = {"ip_address": event.data.get("ip", ""), "user_agent": event.data.get("user_agent", "")}
    match event.kind:
        case EventKind.BOUNCED:
            return {"original_message": message, "bounce": _postal_bounce(notice)}
        case EventKind.CLICKED:
            link = {"url": event.data.get("url", ""), "token": event.data.get("token", "")}
            return {"message": message, **link, **visit}
        case EventKind.OPENED:
            return {"message": message, **visit}
        case EventKind.DOMAIN_ERROR:
            return domain_payload(notice)
        case EventKind.LIMIT_APPROACHING | EventKind.LIMIT_EXCEEDED:
            return limit_payload(notice)
    return {"message": message, **status_payload(event)}


def _postal_message(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a message's summary (message.rb, webhook_hash)."""
    if facts is None:
        return None
    return {
        **{name: facts[name] for name in ("id", "token", "direction", "message_id", "to", "from", "subject")},
        "timestamp": facts["at"] / 1000,
        "spam_status": facts.get("spam_status", SpamStatus.NOT_CHECKED.value),
        "tag": facts.get("tag"),
    }


def _postal_bounce(notice: Notice) -> dict[str, Any]:
    """Return a summary of the message that reported the bounce; it is no message of ours if a node saw it happen."""
    event, original = notice.event, notice.message or {}
    return {
        "id": event.data.get("bounce_message"),
        "token": event.data.get("bounce_token"),
        "direction": "incoming",
        "message_id": event.data.get("bounce_message_id"),
        "to": original.get("from"),
        "from": event.data.get("bounce_from", ""),
        "subject": event.data.get("bounce_subject"),
        "timestamp": to_ms(event.at) / 1000,
        "spam_status": SpamStatus.NOT_CHECKED.value,  # what comes to a return path is not scanned
        "tag": None,
    }
