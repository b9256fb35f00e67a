"""What events are called outside: our own names, and those that Postal gives some of them."""

from collections.abc import Mapping
from enum import StrEnum

from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind


class Dialect(StrEnum):
    """In whose words an endpoint is told of events."""

    EDGEPOST = "edgepost"
    POSTAL = "postal"
    """Names, payloads and signatures of Postal 3.3; events that it does not have are not sent."""


EDGEPOST_NAMES: Mapping[EventKind, str] = {
    EventKind.ACCEPTED: "MessageAccepted",
    EventKind.DELIVERED: "MessageDelivered",
    EventKind.DELAYED: "MessageDelayed",
    EventKind.FAILED: "MessageDeliveryFailed",
    EventKind.HELD: "MessageHeld",
    EventKind.HOLD_CANCELLED: "MessageHoldCancelled",
    EventKind.POSTPONED: "MessagePostponed",
    EventKind.BOUNCED: "MessageBounced",
    EventKind.COMPLAINED: "SpamComplaint",
    EventKind.OPENED: "MessageOpened",
    EventKind.CLICKED: "MessageLinkClicked",
    EventKind.UNSUBSCRIBED: "MessageUnsubscribed",
    EventKind.RECEIVED: "MessageReceived",
    EventKind.SUPPRESSION_ADDED: "SuppressionAdded",
    EventKind.SUPPRESSION_REMOVED: "SuppressionRemoved",
    EventKind.SERVER_SUSPENDED: "ServerSuspended",
    EventKind.ENDPOINT_DISABLED: "EndpointDisabled",
    EventKind.DOMAIN_ERROR: "DomainDNSError",
    EventKind.LIMIT_APPROACHING: "SendLimitApproaching",
    EventKind.LIMIT_EXCEEDED: "SendLimitExceeded",
}

POSTAL_NAMES: Mapping[EventKind, str] = {
    EventKind.DELIVERED: "MessageSent",
    EventKind.DELAYED: "MessageDelayed",
    EventKind.FAILED: "MessageDeliveryFailed",
    EventKind.HELD: "MessageHeld",
    EventKind.BOUNCED: "MessageBounced",
    EventKind.CLICKED: "MessageLinkClicked",
    EventKind.OPENED: "MessageLoaded",
    EventKind.DOMAIN_ERROR: "DomainDNSError",
    EventKind.LIMIT_APPROACHING: "SendLimitApproaching",
    EventKind.LIMIT_EXCEEDED: "SendLimitExceeded",
}
"""Postal: app/models/webhook_event.rb, server.rb."""

_KINDS = {name: kind for names in (POSTAL_NAMES, EDGEPOST_NAMES) for kind, name in names.items()}


def event_name(kind: EventKind, dialect: Dialect) -> str | None:
    """Return what a dialect calls the event, or None if it does not have it."""
    return (EDGEPOST_NAMES if dialect is Dialect.EDGEPOST else POSTAL_NAMES).get(kind)


def kind_named(name: str) -> EventKind:
    """Return the kind of event of that name, in either dialect.

    Raises:
        InvalidValue: there is no such event.
    """
    kind = _KINDS.get(name.strip())
    if kind is None:
        known = ", ".join(EDGEPOST_NAMES.values())
        raise InvalidValue(f"there is no event {name.strip()[:60]!r}; the events are {known}")
    return kind
