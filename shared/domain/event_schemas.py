"""JSON schemas (2020-12) of every event of our own dialect, made from one table of fields.

``docs/event-schemas.json`` is this, written out; a test validates every payload
against it.  Fields may be added in later releases, so a reader must pass over
what he does not know; none is ever removed or changes its type.
"""

from collections.abc import Mapping
from typing import Any

from shared.domain.event import EventKind
from shared.domain.event_names import EDGEPOST_NAMES

DIALECT = "https://json-schema.org/draft/2020-12/schema"

WHEN: Mapping[EventKind, str] = {
    EventKind.ACCEPTED: "The message was accepted for one recipient.",
    EventKind.DELIVERED: "The recipient's server took the message.",
    EventKind.DELAYED: "An attempt failed for now; it will be tried again.",
    EventKind.FAILED: "The message will not be delivered: it was refused for good, or the attempts are used up.",
    EventKind.HELD: "The message waits for somebody to release it.",
    EventKind.HOLD_CANCELLED: "A held message was cancelled, or its hold expired.",
    EventKind.POSTPONED: "The message has waited for long for a reason of ours, such as a limit.",
    EventKind.BOUNCED: "A bounce came back after the message was delivered.",
    EventKind.COMPLAINED: "The recipient reported the message as spam.",
    EventKind.OPENED: "The message was opened.",
    EventKind.CLICKED: "A link of the message was clicked.",
    EventKind.UNSUBSCRIBED: "The recipient unsubscribed.",
    EventKind.RECEIVED: "A message came in for a route.",
    EventKind.SUPPRESSION_ADDED: "An address was put on the suppression list.",
    EventKind.SUPPRESSION_REMOVED: "An address was taken off the suppression list.",
    EventKind.SERVER_SUSPENDED: "The server was suspended: it sends no more mail.",
    EventKind.ENDPOINT_DISABLED: "A webhook endpoint was disabled because it failed for long, or said 410.",
    EventKind.DOMAIN_ERROR: "A DNS record of a domain of yours is gone or wrong; told once, until it is right again.",
    EventKind.LIMIT_APPROACHING: "The server has used nine tenths of its send limit.",
    EventKind.LIMIT_EXCEEDED: "The server has used up its send limit; further mail is held.",
}
"""When each event comes, for people."""

# Any: a schema is JSON.
Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_MOMENT: Schema = {"type": "number", "description": "Seconds since 1970, with milliseconds."}
_NUMBER: Schema = {"type": "integer"}
_NUMBER_OR_NULL: Schema = {"type": ["integer", "null"]}
_YES_NO: Schema = {"type": "boolean"}


def _object(fields: Mapping[str, Schema], *, nullable: bool = False) -> Schema:
    kind: str | list[str] = ["object", "null"] if nullable else "object"
    return {"type": kind, "properties": dict(fields), "required": list(fields)}


_MESSAGE = _object(
    {
        "id": _NUMBER,
        "token": _TEXT,
        "direction": {"enum": ["outgoing", "incoming"]},
        "message_id": {"type": "string", "description": "Of the header, without angle brackets."},
        "to": _TEXT,
        "from": {"type": "string", "description": "Envelope sender as submitted."},
        "subject": _TEXT,
        "timestamp": _MOMENT,
        "tag": _TEXT_OR_NULL,
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "test_mode": {"type": "boolean", "description": "Nothing left this machine: simulator or test switch."},
        "spam_status": {
            "enum": ["NotChecked", "NotSpam", "Spam"],
            "description": "What a scan said of it, as far as there was one before the event.",
        },
    },
    nullable=True,  # once the message is no longer kept
)
_SERVER = _object({"uuid": _TEXT, "name": _TEXT, "permalink": _TEXT, "organization": _TEXT}, nullable=True)
_STATUS: Mapping[str, Schema] = {
    "message": _MESSAGE,
    "status": {"enum": ["Pending", "Sent", "SoftFail", "HardFail", "Held", "HoldCancelled"]},
    "details": _TEXT,
    "output": {"type": "string", "maxLength": 512, "description": "The remote's last reply."},
    "sent_with_ssl": _YES_NO,
    "timestamp": _MOMENT,
    "time": {"type": ["number", "null"], "description": "Seconds that the attempt took."},
    "attempt": _NUMBER,
    "smtp_code": _NUMBER_OR_NULL,
    "enhanced_code": _TEXT_OR_NULL,
    "mx": _TEXT_OR_NULL,
}
_VISIT: Mapping[str, Schema] = {
    "ip_address": _TEXT,
    "user_agent": _TEXT,
    "visitor": {"type": "string", "description": "human, privacy_proxy, link_scanner or prefetch."},
    "visitor_reason": _TEXT,
    "skipped": {"type": "integer", "description": "Hits before this one that were too many to be told one by one."},
}
_BOUNCE = _object(
    {
        "type": {"enum": ["hard", "soft", "undetermined"]},
        "code": {"type": ["string", "null"], "description": "RFC 3463, such as 5.1.1."},
        "category": _TEXT_OR_NULL,
        "diagnostic": {"type": "string", "description": "What the remote host said."},
        "recipient": {"type": ["string", "null"], "description": "The address that bounced."},
        "details": _TEXT,
        "output": _TEXT,
        "message_id": {"type": ["integer", "null"], "description": "Our id of the bounce message, if it is kept."},
    }
)
_COMPLAINT = _object(
    {
        "type": {"type": "string", "description": "Feedback type of RFC 5965, such as abuse."},
        "source": {"type": ["string", "null"], "description": "Domain of the report's author."},
        "details": _TEXT,
        "message_id": {"type": ["integer", "null"], "description": "Our id of the report, if it is kept."},
    }
)
_SUPPRESSION: Mapping[str, Schema] = {
    "server": _SERVER,
    "address": {"type": "string", "description": "`*` for all that an import added."},
    "type": _TEXT,
    "reason": _TEXT,
    "scope": {"enum": ["server", "stream", "organization"]},
    "stream": {"type": ["string", "null"], "description": "The tag whose mail is meant; null: all mail."},
    "until": {"type": ["number", "null"], "description": "Seconds since 1970; null: for ever."},
    "message": _MESSAGE,
}
_LIMIT: Mapping[str, Schema] = {"server": _SERVER, "volume": _NUMBER, "limit": _NUMBER}
_DOMAIN: Mapping[str, Schema] = {
    "server": _SERVER,
    "domain": _TEXT,
    "uuid": _TEXT,
    "dns_checked_at": _MOMENT,
    **{
        f"{check}_{part}": _TEXT_OR_NULL
        for check in ("spf", "dkim", "mx", "return_path")
        for part in ("status", "error")
    },
}

_PAYLOADS: Mapping[EventKind, Mapping[str, Schema]] = {
    EventKind.ACCEPTED: _STATUS,
    EventKind.DELIVERED: _STATUS,
    EventKind.DELAYED: _STATUS,
    EventKind.FAILED: _STATUS,
    EventKind.HELD: _STATUS,
    EventKind.HOLD_CANCELLED: _STATUS,
    EventKind.POSTPONED: _STATUS,
    EventKind.BOUNCED: {"message": _MESSAGE, "original_message": _MESSAGE, "bounce": _BOUNCE},
    EventKind.COMPLAINED: {"message": _MESSAGE, "complaint": _COMPLAINT},
    EventKind.OPENED: {"message": _MESSAGE, **_VISIT},
    EventKind.CLICKED: {"message": _MESSAGE, "url": _TEXT, **_VISIT},
    EventKind.UNSUBSCRIBED: {"message": _MESSAGE, "ip_address": _TEXT, "user_agent": _TEXT},
    EventKind.RECEIVED: {"message": _MESSAGE, "details": _TEXT},
    EventKind.SUPPRESSION_ADDED: _SUPPRESSION,
    EventKind.SUPPRESSION_REMOVED: _SUPPRESSION,
    EventKind.SERVER_SUSPENDED: {"server": _SERVER, "reason": _TEXT},
    EventKind.ENDPOINT_DISABLED: {
        "server": _SERVER,
        "endpoint": _object({"id": _NUMBER, "url": _TEXT}),
        "reason": _TEXT,
    },
    EventKind.DOMAIN_ERROR: _DOMAIN,
    EventKind.LIMIT_APPROACHING: _LIMIT,
    EventKind.LIMIT_EXCEEDED: _LIMIT,
}


_SOMETIMES: Mapping[EventKind, Mapping[str, Schema]] = {
    EventKind.DOMAIN_ERROR: {
        "tracking_status": _TEXT | {"description": "Of a tracking domain only; all the others are null then."},
        "tracking_error": _TEXT,
    },
}
"""Fields that an event of the kind may have."""


def event_schema(kind: EventKind) -> Schema:
    """Return the schema of one event's whole body."""
    fields = {
        "event": {"const": EDGEPOST_NAMES[kind]},
        "timestamp": _MOMENT,
        "payload": _payload(kind),
        "uuid": {"type": "string", "format": "uuid", "description": "The same on every attempt; also webhook-id."},
    }
    return {"$schema": DIALECT, "title": EDGEPOST_NAMES[kind], "description": WHEN[kind], **_object(fields)}


def _payload(kind: EventKind) -> Schema:
    schema = _object(_PAYLOADS[kind])
    return schema | {"properties": schema["properties"] | _SOMETIMES.get(kind, {})}


def event_schemas() -> Mapping[str, Schema]:
    """Return the schemas of all events by their names."""
    return {EDGEPOST_NAMES[kind]: event_schema(kind) for kind in EventKind}
