"""A message as Postal's API shows it, expansion by expansion (legacy_api/messages_controller.rb)."""

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from shared.domain.event import Event, EventKind
from shared.domain.message import Delivery, Message, SpamStatus
from shared.domain.mime_encoding import wrapped_base64
from shared.domain.mime_reading import Contents, contents, header_texts

EXPANSIONS = (
    "status",
    "details",
    "inspection",
    "plain_body",
    "html_body",
    "attachments",
    "headers",
    "raw_message",
    "activity_entries",
)
"""In the order of Postal's answer."""

BODY_EXPANSIONS = frozenset({"plain_body", "html_body", "attachments", "headers", "raw_message"})
"""Those that need the raw message."""

RUBY_BASE64_WIDTH = 60
"""Line length of Ruby's Base64.encode64."""


def record_view(message: Message, wanted: AbstractSet[str]) -> Mapping[str, object]:
    """Return the expansions that the record alone answers."""
    view = {
        "status": {
            "status": message.status.value,
            "last_delivery_attempt": _timestamp(message.last_delivery_at),
            "held": message.held,
            "hold_expiry": _timestamp(message.hold_expires_at),
        },
        "details": {
            "rcpt_to": message.rcpt_to,
            "mail_from": message.mail_from,
            "subject": message.subject,
            "message_id": message.message_id,
            "timestamp": message.accepted_at.timestamp(),
            "direction": message.direction.value,
            "size": str(message.size_bytes),  # Postal's database driver gives a string here.
            "bounce": message.bounce,
            "bounce_for_id": 0,
            "tag": message.tag or None,
            "received_with_ssl": message.origin.via.over_tls,
        },
        "inspection": {
            "inspected": message.inspected,
            "spam": message.spam_status is SpamStatus.SPAM,
            "spam_score": message.spam_score,
            "threat": bool(message.threat),
            "threat_details": message.threat or None,
        },
    }
    return {name: value for name, value in view.items() if name in wanted}


def body_view(raw: bytes | None, wanted: AbstractSet[str]) -> Mapping[str, object]:
    """Return the expansions that need the body; one past its retention is shown as empty."""
    found = contents(raw) if raw and wanted & {"plain_body", "html_body", "attachments"} else Contents(None, None, ())
    view: dict[str, object] = {"plain_body": found.plain, "html_body": found.html}
    if "attachments" in wanted:
        view["attachments"] = _attachments(found)
    if "headers" in wanted:
        view["headers"] = header_texts(raw) if raw else {}
    if "raw_message" in wanted:
        view["raw_message"] = _base64(raw) if raw else None
    return {name: value for name, value in view.items() if name in wanted}


def activity_view(hits: Sequence[Event]) -> Mapping[str, object]:
    """Return opens and clicks, oldest first; their moments are texts here, unlike all others of this API."""
    in_order = sorted(hits, key=lambda event: event.at)
    return {
        "loads": [_hit(event) for event in in_order if event.kind is EventKind.OPENED],
        "clicks": [
            {"url": event.data.get("url"), **_hit(event)} for event in in_order if event.kind is EventKind.CLICKED
        ],
    }


def _hit(event: Event) -> Mapping[str, object]:
    return {
        "ip_address": event.data.get("ip"),
        "user_agent": event.data.get("user_agent"),
        "timestamp": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def delivery_view(delivery: Delivery) -> Mapping[str, object]:
    """Return one row of a message's history."""
    return {
        "id": delivery.id,
        "status": delivery.status.value,
        "details": delivery.details,
        "output": delivery.output.strip(),
        "sent_with_ssl": bool(delivery.evidence.tls),
        "log_id": delivery.log_id,
        "time": None if delivery.duration is None else round(delivery.duration.total_seconds(), 2),
        "timestamp": delivery.at.timestamp(),
    }


def _attachments(found: Contents) -> Sequence[Mapping[str, object]]:
    return [
        {
            "filename": each.filename,
            "content_type": each.content_type,
            "data": _base64(each.content),
            "size": len(each.content),
            "hash": hashlib.sha1(each.content, usedforsecurity=False).hexdigest(),  # Postal's field, a mere checksum.
        }
        for each in found.attachments
    ]


def _base64(raw: bytes) -> str:
    return wrapped_base64(raw, width=RUBY_BASE64_WIDTH, line_end=b"\n").decode("ascii")


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
