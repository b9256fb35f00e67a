"""What our own dialect says of each event; ``event_schemas`` has the same as JSON schemas."""

from collections.abc import Mapping
from typing import Any

from shared.domain.event import Event, EventKind
from shared.domain.event_names import EDGEPOST_NAMES
from shared.domain.message import SpamStatus, Status
from shared.domain.moments import to_ms
from shared.domain.notice import Notice, domain_uuid

STATUSES = {
    EventKind.ACCEPTED: Status.PENDING.value,
    EventKind.DELIVERED: Status.SENT.value,
    EventKind.DELAYED: Status.SOFT_FAIL.value,
    EventKind.FAILED: Status.HARD_FAIL.value,
    EventKind.HELD: Status.HELD.value,
    EventKind.HOLD_CANCELLED: Status.HOLD_CANCELLED.value,
    EventKind.POSTPONED: Status.PENDING.value,
}
"""The status of the message after the event, in Postal's words."""

TRACKING = ("tracking_status", "tracking_error")
DNS_CHECKS = ("spf", "dkim", "mx", "return_path")


# Any: payloads are JSON.
def envelope_of(notice: Notice) -> dict[str, Any]:
    """Return a whole event of our own dialect."""
    return {
        "event": EDGEPOST_NAMES[notice.event.kind],
        "timestamp": to_ms(notice.event.at) / 1000,
        "payload": payload_of(notice),
        "uuid": str(notice.event.id),
    }


def payload_of(notice: Notice) -> dict[str, Any]:
    """Return the payload of our own dialect."""
    event = notice.event
    match event.kind:
        case EventKind.SUPPRESSION_ADDED | EventKind.SUPPRESSION_REMOVED:
            return _server(notice) | _suppression(event) | {"message": _message(notice)}
        case EventKind.SERVER_SUSPENDED:
            return _server(notice) | {"reason": _text(event, "reason") or event.details}
        case EventKind.ENDPOINT_DISABLED:
            endpoint = {"id": _number(event, "endpoint"), "url": _text(event, "url")}
            return _server(notice) | {"endpoint": endpoint, "reason": event.details}
        case EventKind.DOMAIN_ERROR:
            # Of a tracking domain only: what is told of a sending domain is the same in both dialects.
            tracking = {name: event.data[name] for name in TRACKING if name in event.data}
            return domain_payload(notice) | tracking
        case EventKind.LIMIT_APPROACHING | EventKind.LIMIT_EXCEEDED:
            return limit_payload(notice)
    if event.kind is EventKind.BOUNCED:
        # Postal's name of the same, so that a consumer of either dialect finds it.
        return {"message": _message(notice), "original_message": _message(notice), **_of_message(event)}
    return {"message": _message(notice), **_of_message(event)}


def _of_message(event: Event) -> dict[str, Any]:
    match event.kind:
        case EventKind.BOUNCED:
            return {"bounce": _bounce(event)}
        case EventKind.COMPLAINED:
            return {"complaint": _complaint(event)}
        case EventKind.OPENED:
            return _visit(event)
        case EventKind.CLICKED:
            return {"url": _text(event, "url"), **_visit(event)}
        case EventKind.UNSUBSCRIBED:
            return {"ip_address": _text(event, "ip"), "user_agent": _text(event, "user_agent")}
        case EventKind.RECEIVED:
            return {"details": event.details}
    return status_payload(event) | {
        "attempt": event.attempt,
        "smtp_code": event.data.get("code"),
        "enhanced_code": event.data.get("enhanced"),
        "mx": event.data.get("mx"),
    }


def status_payload(event: Event) -> dict[str, Any]:
    """Return what a delivery says (Postal: delivery.rb, webhook_hash)."""
    took_ms = event.data.get("took_ms")
    return {
        "status": STATUSES[event.kind],
        "details": event.details,
        "output": event.output[:512],
        "sent_with_ssl": bool(event.data.get("tls")),
        "timestamp": to_ms(event.at) / 1000,
        "time": None if took_ms is None else round(took_ms / 1000, 2),
    }


def domain_payload(notice: Notice) -> dict[str, Any]:
    """Return what a failed DNS check says, in both dialects (Postal: domain.rb)."""
    event = notice.event
    name = _text(event, "domain") or event.subject
    payload: dict[str, Any] = {
        **_server(notice),
        "domain": name,
        "uuid": domain_uuid(event.server_id, name),
        "dns_checked_at": to_ms(event.at) / 1000,
    }
    for check in DNS_CHECKS:
        payload |= {f"{check}_{part}": event.data.get(f"{check}_{part}") for part in ("status", "error")}
    return payload


def limit_payload(notice: Notice) -> dict[str, Any]:
    """Return what a send limit says, in both dialects (Postal: server.rb)."""
    return _server(notice) | {"volume": _number(notice.event, "volume"), "limit": _number(notice.event, "limit")}


def _message(notice: Notice) -> Mapping[str, Any] | None:
    facts = notice.message
    if facts is None:
        return None
    return {
        **{name: facts[name] for name in ("id", "token", "direction", "message_id", "to", "from", "subject")},
        "timestamp": facts["at"] / 1000,
        "tag": facts.get("tag"),
        "metadata": facts.get("metadata", {}),
        "test_mode": facts.get("test", False),
        "spam_status": facts.get("spam_status", SpamStatus.NOT_CHECKED.value),
    }


def _bounce(event: Event) -> dict[str, Any]:
    return {
        "type": _text(event, "type") or "undetermined",
        "code": _text(event, "code") or None,
        "category": _text(event, "category") or None,
        "diagnostic": _text(event, "diagnostic") or event.output,
        "recipient": _text(event, "recipient") or None,
        "details": event.details,
        "output": event.output,
        "message_id": event.data.get("bounce_message"),
    }


def _complaint(event: Event) -> dict[str, Any]:
    return {
        "type": _text(event, "type") or "abuse",
        "source": _text(event, "source") or None,
        "details": event.details,
        "message_id": event.data.get("bounce_message"),
    }


def _visit(event: Event) -> dict[str, Any]:
    """Return who came: a person, a privacy proxy, a link scanner; and why we think so."""
    return {
        "ip_address": _text(event, "ip"),
        "user_agent": _text(event, "user_agent"),
        "visitor": _text(event, "class") or "human",
        "visitor_reason": _text(event, "reason"),
        "skipped": _number(event, "skipped"),
    }


def _suppression(event: Event) -> dict[str, Any]:
    return {
        "address": _text(event, "address") or event.subject,
        "type": _text(event, "type") or "recipient",
        "reason": _text(event, "reason") or event.details,
        "scope": _text(event, "scope") or "server",
        "stream": _text(event, "stream") or None,
        "until": _number(event, "until") / 1000 or None,
    }


def _server(notice: Notice) -> dict[str, Any]:
    return {"server": None if notice.server is None else dict(notice.server)}


def _text(event: Event, name: str) -> str:
    value = event.data.get(name, "")
    return value if isinstance(value, str) else str(value)


def _number(event: Event, name: str) -> int:
    value = event.data.get(name, 0)
    return value if isinstance(value, int) else 0
