"""A made-up event of each kind, for the test button and for the examples in the documentation."""

from datetime import datetime, timedelta
from typing import Any

from shared.domain.event import Event, EventKind
from shared.domain.ids import EPOCH, RANDOM_BITS, MessageId, ServerId
from shared.domain.message import Direction, Message, Origin, Via
from shared.domain.notice import Notice, message_facts, server_facts
from shared.domain.tenancy import Tenant

_WITHOUT_MESSAGE = frozenset(
    {
        *(EventKind.SUPPRESSION_ADDED, EventKind.SUPPRESSION_REMOVED, EventKind.SERVER_SUSPENDED),
        *(EventKind.ENDPOINT_DISABLED, EventKind.DOMAIN_ERROR, EventKind.LIMIT_APPROACHING, EventKind.LIMIT_EXCEEDED),
    }
)

_VISIT = {
    "ip": "192.0.2.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "class": "human",
    "reason": "no sign of a machine",
}
_SMTP = {"code": 250, "mx": "mx.example.net", "tls": True, "took_ms": 214}

# Any: an event's data is JSON.
_DATA: dict[EventKind, dict[str, Any]] = {
    EventKind.DELIVERED: _SMTP,
    EventKind.DELAYED: _SMTP | {"code": 451, "enhanced": "4.7.1"},
    EventKind.FAILED: _SMTP | {"code": 550, "enhanced": "5.1.1"},
    EventKind.BOUNCED: {
        "type": "hard",
        "code": "5.1.1",
        "category": "unknown_user",
        "diagnostic": "550 5.1.1 No such user",
        "recipient": "recipient@example.net",
    },
    EventKind.COMPLAINED: {"type": "abuse", "source": "example.net"},
    EventKind.OPENED: _VISIT,
    EventKind.CLICKED: _VISIT | {"url": "https://example.com/welcome?plan=pro"},
    EventKind.UNSUBSCRIBED: {"ip": "192.0.2.7", "user_agent": _VISIT["user_agent"]},
    EventKind.SUPPRESSION_ADDED: {
        "address": "recipient@example.net",
        "type": "hard_bounce",
        "scope": "server",
        "until": 1774958400000,
    },
    EventKind.SUPPRESSION_REMOVED: {
        "address": "recipient@example.net",
        "type": "unsubscribe",
        "scope": "stream",
        "stream": "news",
    },
    EventKind.ENDPOINT_DISABLED: {"endpoint": 1234567, "url": "https://example.com/hooks"},
    EventKind.DOMAIN_ERROR: {
        "domain": "example.com",
        "spf_status": "OK",
        "dkim_status": "Missing",
        "mx_status": "OK",
        "dkim_error": "No TXT records were returned for the DKIM record",
        "return_path_status": "OK",
    },
    EventKind.LIMIT_APPROACHING: {"volume": 900, "limit": 1000},
    EventKind.LIMIT_EXCEEDED: {"volume": 1000, "limit": 1000},
}
_TEXTS = {
    EventKind.DELIVERED: ("Message for recipient@example.net accepted by mx.example.net", "250 2.0.0 OK"),
    EventKind.DELAYED: ("mx.example.net cannot take it for now", "451 4.7.1 Greylisted"),
    EventKind.FAILED: ("mx.example.net refused it for good", "550 5.1.1 No such user"),
    EventKind.HELD: ("Server is in development mode.", ""),
    EventKind.HOLD_CANCELLED: ("The hold on this message has been removed without action.", ""),
    EventKind.POSTPONED: ("The destination takes no further connections for now.", ""),
    EventKind.BOUNCED: ("The mailbox does not exist.", "550 5.1.1 No such user"),
    EventKind.COMPLAINED: ("The recipient reported this message as spam.", ""),
    EventKind.SERVER_SUSPENDED: ("Too many bounces.", ""),
    EventKind.ENDPOINT_DISABLED: ("The endpoint answered 410 Gone.", ""),
}


def sample_notice(kind: EventKind, tenant: Tenant, now: datetime) -> Notice:
    """Return a notice of a happening that never was; its event id tells it from real ones and from other samples."""
    message = _message(tenant.server.id, now)
    details, output = _TEXTS.get(kind, ("", ""))
    about_message = kind not in _WITHOUT_MESSAGE
    event = Event(
        kind,
        tenant.server.id,
        message.id if about_message else MessageId(0),
        1,
        now,
        details=details,
        output=output,
        subject="sample",
        data=_DATA.get(kind, {}),
    )
    if about_message:
        return Notice(event, message=message_facts(message))
    return Notice(event, server=server_facts(tenant))


def _message(server_id: ServerId, now: datetime) -> Message:
    drawn = (now - EPOCH) // timedelta(milliseconds=1) << RANDOM_BITS
    return Message(
        server_id=server_id,
        id=MessageId(drawn),
        token="sampleSAMPLE1234",  # noqa: S106  # a message's token, made up
        direction=Direction.OUTGOING,
        rcpt_to="recipient@example.net",
        mail_from="app@example.com",
        subject="Welcome to Example",
        message_id="sample@example.com",
        body_key="",
        size_bytes=2048,
        origin=Origin(Via.LOCAL),
        tag="welcome",
        metadata={"user": "42"},
        test_mode=True,
    )
