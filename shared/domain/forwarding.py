"""What becomes of incoming mail, before anything is connected to, and how an HTTP endpoint's answer counts.

The order and the words are Postal's (app/lib/message_dequeuer/incoming_message_processor.rb).
A release by hand overrules quarantine, failing of spam, development mode and hold.

==========================  =====================================================
the endpoint answered       outcome
==========================  =====================================================
2xx                         Sent
406, 410, 413, 422          HardFail: it has looked at this mail and does not want it
anything else               SoftFail: tried again as the retry schedule says
no answer                   SoftFail
==========================  =====================================================

Postal fails for good at every 3xx and 4xx, 429 included; an application that answers
404 or 401 for the minutes of a deployment would lose its mail that way.
"""

from collections.abc import Mapping
from datetime import datetime

from shared.domain.errors import MalformedMessage
from shared.domain.headers import Head, split_head
from shared.domain.holding import DEVELOPMENT, SUSPENDED
from shared.domain.inspection import SPAM_FAILS
from shared.domain.message import Evidence, Message, SpamStatus
from shared.domain.outcome import HardFail, Held, Outcome, Processed, Sent, SoftFail
from shared.domain.routes import Route, RouteMode, SpamMode, current_target
from shared.domain.tenancy import Mode, Tenant
from shared.domain.webhook_retry import MOST_RETRY_AFTER, retry_after

NO_ROUTE = "Message does not have a route and/or endpoint available for delivery."
QUARANTINE = "Message placed into quarantine."
ACCEPTED = "Message has been accepted but not sent to any endpoints."
PROCESSED = "Message has been processed."
BOUNCED = "Message has been bounced because the route asks for this."
LOOP = "The message has passed this route or too many hosts before: a mail loop."

REFUSALS = frozenset({406, 410, 413, 422})
MAX_HOPS = 50
"""Received fields of mail that is passed on; RFC 5321 §6.3 asks for at least 100 where that is the only guard."""

MAX_OUTPUT_BYTES = 500
_DELIVERED_TO = b"Delivered-To"


def decide(message: Message, tenant: Tenant, route: Route | None) -> Outcome | None:
    """Return what becomes of the message without any endpoint, or None if its endpoint is to get it.

    Args:
        message: incoming, and claimed.
        tenant: its server and organization, as they are now.
        route: which took it, as it is now; None if it is gone.
    """
    if tenant.suspended:
        return Held(SUSPENDED)
    if route is None or route.server_id != message.server_id:
        return HardFail(NO_ROUTE)
    if not message.released:
        if message.spam_status is SpamStatus.SPAM and route.spam_mode is SpamMode.QUARANTINE:
            return Held(QUARANTINE)
        if message.spam_status is SpamStatus.SPAM and route.spam_mode is SpamMode.FAIL:
            return HardFail(SPAM_FAILS)
        if tenant.server.mode is Mode.DEVELOPMENT:
            return Held(DEVELOPMENT)
    return _by_mode(message, route)


def _by_mode(message: Message, route: Route) -> Outcome | None:
    match route.mode:
        case RouteMode.ACCEPT:
            return Processed(ACCEPTED)
        case RouteMode.HOLD:
            return Processed(PROCESSED) if message.released else Held(ACCEPTED)
        case RouteMode.BOUNCE | RouteMode.REJECT:
            return HardFail(BOUNCED)
        case RouteMode.ENDPOINT:
            return None if current_target(route, message.endpoint) else HardFail(NO_ROUTE)


def delivered_to(address: str) -> bytes:
    """Return the field that marks mail passed on by a route, with its CRLF (RFC 9228)."""
    return _DELIVERED_TO + b": " + address.encode() + b"\r\n"


def loops(raw: bytes, address: str) -> bool:
    """Whether the mail has passed this address before, or so many hosts that it must be going round.

    A head that cannot be split says nothing: it is the sender's bytes that are passed on.
    """
    try:
        head = split_head(raw)
    except MalformedMessage:
        return False
    return len(head.named(b"Received")) > MAX_HOPS or _was_at(head, address)


def _was_at(head: Head, address: str) -> bool:
    wanted = address.lower().encode()
    return any(field.value.strip(b"<> \t").lower() == wanted for field in head.named(_DELIVERED_TO))


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, *, error: str, url: str, now: datetime) -> Outcome:
    """Return what an endpoint's answer makes of the attempt.

    Args:
        status: of the answer; 0 if there was none.
        headers: names in lower case.
        body: of the answer; its beginning is kept.
        error: why there was no answer.
        url: of the endpoint.
        now: a date that the endpoint asked to wait for counts from here.
    """
    if status == 0:
        return SoftFail(f"No answer from {url[:150]}. {error}", evidence=Evidence(enhanced_code="4.4.1"))
    details, output = (
        f"Received a {status} from {url[:200]}",
        body[:MAX_OUTPUT_BYTES].decode("utf-8", "replace").strip(),
    )
    if 200 <= status < 300:
        return Sent(details, output)
    if status in REFUSALS:
        return HardFail(details, output, evidence=Evidence(enhanced_code="5.7.1"))
    asked = retry_after(status, headers, now)
    wait = None if asked is None else min(asked, MOST_RETRY_AFTER)
    return SoftFail(details, output, evidence=Evidence(enhanced_code="4.3.0"), retry_after=wait)
