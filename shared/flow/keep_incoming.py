"""Keep a mail that came in: body and reservation, record, and only then what follows from it.

What was drawn for the mail is reserved (``reserve_incoming``), so every step is harmless
when it is repeated: a crash anywhere leaves one copy or none, and what was answered with
250 is there.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.errors import StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import draw_ids, draw_token
from shared.domain.incoming import Incoming, spf_passed
from shared.domain.letter import MAX_SUBJECT
from shared.domain.message import Delivery, Direction, Message, Status
from shared.domain.routes import Target
from shared.flow.receiving import Receiving
from shared.flow.reserve_incoming import Reserved, reserve
from shared.ports import Outgoing

MAX_ID_DRAWS = 5
MAX_DETAILS = 250
MAX_OUTPUT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a mail that is kept."""

    status: Status
    details: str
    """A sentence for its first row; empty for no row."""

    output: str = ""
    """What the row shows beside it, at most ``MAX_OUTPUT`` characters."""

    hold_expires_at: datetime | None = None
    bounce: bool = False
    endpoint: Target | None = None
    """Where this copy goes."""


Step = Callable[[Message], Awaitable[None]]
"""Something to be done with the kept message; may be done again with the same one."""


async def keep(
    incoming: Incoming,
    fate: Fate,
    *,
    before: Step | None = None,
    after: Step | None = None,
    reserved: Reserved | None = None,
    using: Receiving,
    now: datetime,
) -> Message:
    """Store the mail and return its record.  Twice with the same digest: the same record.

    Args:
        incoming: the mail.
        fate: its status and why.
        before: runs when the record is about to be written, such as what wakes a held message.
        after: runs once the record is there: jobs and events.
        reserved: what ``reserve`` gave for this mail, if it was asked before.
        using: what taking in needs.
        now: when it came.

    Raises:
        EnoughReported: more has come about its message than is kept.
        NotFound: its server is gone.
        StorageUnavailable: nothing was promised.
    """
    server = (await using.tenant(incoming)).server
    reserved = reserved or await reserve(incoming, using=using, now=now)
    message = _message(incoming, fate, reserved)
    rows = [_row(message, fate, using=using, now=now)] if fate.details else []
    for _ in range(MAX_ID_DRAWS):
        if before is not None:
            await before(message)
        if await using.messages.add(server, message, expires_at=now + using.settings.message_retention, rows=rows):
            break
        message = replace(message, id=draw_ids(now, 1, using.rng)[0])
        if incoming.digest:
            # Before the record: a repetition must come to the same id.
            await using.reservations.finish(server.id, reserved.key, [message.id])
    else:
        raise StorageUnavailable("no free message id was found")
    if after is not None:
        await after(message)
    return message


async def tell(events: Iterable[Event], *, using: Receiving) -> None:
    """Put events on their queue.  Twice: they have the same ids."""
    if some := [Outgoing(each.to_json(), group=str(each.server_id)) for each in events]:
        await using.stores.events.send(some)


def received_event(message: Message, details: str, now: datetime) -> Event:
    """Return the event of a mail that came in."""
    return Event(EventKind.RECEIVED, message.server_id, message.id, 1, now, details=details)


def _message(incoming: Incoming, fate: Fate, reserved: Reserved) -> Message:
    (reservation, _, head), inspection = reserved, incoming.ruling.inspection
    return Message(
        server_id=incoming.server_id,
        id=reservation.ids[0],
        token=reservation.tokens[0],
        direction=Direction.INCOMING,
        rcpt_to=incoming.rcpt_to,
        mail_from=incoming.mail_from,
        subject=head.text(b"Subject")[:MAX_SUBJECT],
        message_id=reservation.message_id,
        body_key=reservation.body_key,
        size_bytes=len(incoming.raw),
        origin=incoming.origin,
        status=fate.status,
        attempt=2 if fate.status.final else 1,
        hold_expires_at=fate.hold_expires_at,
        domain=incoming.route.domain if incoming.route else "",
        bounce=fate.bounce,
        route=incoming.route.address if incoming.route else "",
        endpoint=fate.endpoint,
        sender_verified=spf_passed(incoming.authentication),
        inspected=inspection.inspected,
        spam_status=incoming.ruling.status,
        spam_score=inspection.score or 0.0,
        threat=inspection.threat or "",
    )


def _row(message: Message, fate: Fate, *, using: Receiving, now: datetime) -> Delivery:
    return Delivery(
        id=draw_ids(now, 1, using.rng)[0],
        attempt=1,
        status=message.status,
        details=fate.details[:MAX_DETAILS],
        output=fate.output,
        at=now,
        log_id=draw_token(using.rng, 8),
    )
