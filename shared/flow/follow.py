"""Follow: what deliveries, bounces, complaints and unsubscriptions mean for the message and the suppression lists.

| event | what follows, by default |
| --- | --- |
| refused for good, at once or by a bounce: address unknown, disabled, moved | on the server's list at once |
| another hard failure or hard bounce | on the list at the second within 24 hours (Postal) |
| given up after all attempts | on the list (Postal) |
| a complaint | on the server's list, for ever |
| unsubscribed | on the stream's list, for ever; on the server's if the mail had no tag |
| a bounce of any type | the message that was sent is ``Bounced`` |
| delivered after somebody released it by hand | off the lists of its server (Postal) |

Each can be turned off in the settings.  Events come repeated: an entry remembers which
event changed it, so nothing happens twice.  It runs before the event is recorded, so a
crash between the two repeats it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.bounce.codes import PERMANENT_ADDRESS
from shared.domain.bounce.diagnosis import diagnose
from shared.domain.bounce.report import BounceType, Category
from shared.domain.errors import NotFound
from shared.domain.event import Event, EventKind
from shared.domain.message import Delivery, Direction, Message
from shared.domain.suppression import Reason, Scope
from shared.domain.tenancy import Tenant
from shared.flow.suppress import Cause, Suppressing, suppress, unsuppress
from shared.store.directory import Directory
from shared.store.messages import Messages

KINDS = frozenset(
    {EventKind.FAILED, EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED, EventKind.DELIVERED}
)


GIVEN_UP = "Given up after "
"""How ``shared.flow.settle`` begins the row of a soft failure that became final."""


OWN_FAULT = "4.3.0"
"""Of failures of ours, as the node writes them (RFC 3463 §3.4)."""


@dataclass(frozen=True, slots=True)
class Following:
    """What following events needs."""

    suppressing: Suppressing
    directory: Directory
    messages: Messages


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a failure or a bounce says of the address."""

    said: str = ""
    category: Category = Category.OTHER
    hard: bool = False
    exhausted: bool = False


async def follow(events: Sequence[Event], *, using: Following, now: datetime) -> None:
    """Do what follows from these events.  Twice: nothing more.

    Raises:
        StorageUnavailable: the same events may be given again.
    """
    for event in events:
        if event.kind in KINDS and event.message_id and (event.kind is not EventKind.DELIVERED or _was_released(event)):
            await _follow(event, using=using, now=now)


def _was_released(event: Event) -> bool:
    # Every delivery has such an event: only the few after a release may cost a read.
    return event.data.get("released") is True


async def _follow(event: Event, *, using: Following, now: datetime) -> None:
    tenant = await using.directory.tenant(event.server_id)
    found = tenant and await using.messages.with_deliveries(tenant.server, event.message_id)
    if not tenant or not found:
        return
    message, rows = found
    if message.direction is Direction.INCOMING:
        return  # its recipient is an address of the tenant's own: what fails behind it says nothing of that
    if event.kind is EventKind.BOUNCED:
        await using.messages.mark_bounced(tenant.server, message.id)
    if message.test_mode:
        return  # made up by the simulator
    if event.kind is EventKind.DELIVERED:
        await _lift(event, tenant, message, using=using, now=now)
        return
    reason, detail = await _reason(event, message, rows, using=using, now=now)
    if reason is None:
        return
    stream = message.tag if reason is Reason.UNSUBSCRIBE else ""
    cause = Cause(reason=reason, source=str(event.id), detail=detail, message_id=message.id)
    await suppress(
        Scope(tenant.server.id, stream=stream),
        message.rcpt_to,
        cause,
        until=using.suppressing.expiry(reason, now),
        using=using.suppressing,
        now=now,
    )


async def _reason(
    event: Event, message: Message, rows: Sequence[Delivery], *, using: Following, now: datetime
) -> tuple[Reason | None, str]:
    """Return why the address goes on the list, or None, and what was said."""
    settings = using.suppressing.settings
    match event.kind:
        case EventKind.COMPLAINED:
            return (Reason.COMPLAINT if settings.suppress_complaints else None), event.details
        case EventKind.UNSUBSCRIBED:
            return (Reason.UNSUBSCRIBE if settings.suppress_unsubscribes else None), event.details
        case EventKind.BOUNCED:
            verdict = _bounce(event)
        case _:
            verdict = _failure(event, rows)
    if verdict.exhausted:
        return (Reason.SOFT_FAILURES if settings.suppress_exhausted else None), verdict.said
    if not verdict.hard:
        return None, ""
    if verdict.category in PERMANENT_ADDRESS and settings.suppress_bad_addresses:
        return Reason.HARD_BOUNCE, verdict.said
    if not settings.suppress_hard_failures:
        return None, ""
    count = await using.suppressing.suppressions.count_hard_failure(
        event.server_id,
        message.rcpt_to,
        str(event.id),
        window=settings.suppress_window / settings.time_factor,
        now=now,
    )
    return (Reason.HARD_FAILURES if count >= settings.suppress_hard_failures else None), verdict.said


def _failure(event: Event, rows: Sequence[Delivery]) -> _Verdict:
    """Judge the attempt that made a message fail for good."""
    row = next((row for row in rows if row.attempt == event.attempt), None)
    if row is None or _is_own_fault(row):
        return _Verdict()
    if row.details.startswith(GIVEN_UP):
        return _Verdict(row.output or row.details, exhausted=True)
    judged = diagnose(row.output, status=row.evidence.enhanced_code)
    return _Verdict(row.output, judged.category, hard=judged.type is BounceType.HARD)


def _is_own_fault(row: Delivery) -> bool:
    """Whether it says nothing of the address: no host was asked (the body is gone, the store was away)."""
    if row.details.startswith(GIVEN_UP):
        return not row.evidence.smtp_code and row.evidence.enhanced_code == OWN_FAULT
    return not 500 <= row.evidence.smtp_code <= 599


def _bounce(event: Event) -> _Verdict:
    """Read what the event tells of a bounce: type, category, and the host's words as its output."""
    name = str(event.data.get("category", ""))
    category = Category(name) if name in list(Category) else Category.OTHER
    # A bounce of another origin may have a code only.
    if not name:
        category = diagnose(event.output, status=str(event.data.get("code", ""))).category
    return _Verdict(event.output or event.details, category, hard=event.data.get("type") == BounceType.HARD.value)


async def _lift(event: Event, tenant: Tenant, message: Message, *, using: Following, now: datetime) -> None:
    """Take the address off the server's lists: it has just proved to work, and a person wanted it."""
    cause = Cause(reason=Reason.MANUAL, source=str(event.id), detail="delivered after release", message_id=message.id)
    scopes = [Scope(tenant.server.id), *([Scope(tenant.server.id, stream=message.tag)] if message.tag else [])]
    for scope in scopes:
        entry = await using.suppressing.suppressions.get(scope, message.rcpt_to)
        # Put there after this delivery: then that is newer than what the delivery proved.
        if entry is None or not entry.active or entry.added_at > event.at or entry.knows(cause.source):
            continue
        try:
            await unsuppress(scope, message.rcpt_to, cause, using=using.suppressing, now=now)
        except NotFound:
            continue  # somebody was faster
