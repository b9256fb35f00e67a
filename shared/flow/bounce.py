"""Take in what comes to a return path: bounces, complaints, and everything else.

=============================================  ===========================================
what it is                                     what follows
=============================================  ===========================================
failure of the message's recipient             kept, ``BOUNCED``, once for each message
feedback report                                kept, ``COMPLAINED``, once for each message
anything else, or what is not believed         to the server's ``__returnpath__`` route, else
                                               kept as unmatched with the reason
=============================================  ===========================================

The status ``Bounced`` and the suppression lists follow from the event (``follow``).
Which message is meant says the address, else our token in the report or in the head of
the returned message, if it is of the same server; both are signed.  Else a Message-ID that
we made, which only those know who have seen the message.  What people quote is none of these.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain.bounce.content import read_content
from shared.domain.bounce.matching import BOUNCES_BELIEVED_FOR, COMPLAINTS_BELIEVED_FOR, about, disbelief
from shared.domain.bounce.reading import bounce_in
from shared.domain.bounce.report import Kind, Reading, RecipientReport
from shared.domain.complaint import Complaint, complaint_in
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId
from shared.domain.incoming import About, Incoming, ToReturnPath, ToRoute
from shared.domain.message import Message, Status
from shared.domain.message_names import named_by_message_id
from shared.domain.routes import RETURN_PATH
from shared.domain.tenancy import Server
from shared.flow.find_inward import named_by
from shared.flow.keep_incoming import Fate, keep, received_event, tell
from shared.flow.receive_route import receive_route
from shared.flow.receiving import Receiving
from shared.ports import Outgoing
from shared.store.routes import Routes

log = logging.getLogger(__name__)

UNMATCHED = "This message was a bounce but we couldn't link it with any outgoing message and there was no route for it."
"""Postal's words (app/lib/message_dequeuer/incoming_message_processor.rb)."""

NO_BOUNCE = {
    Kind.DELAYED: "This says that a message is delayed and still being tried.",
    Kind.DELIVERED: "This says that a message was delivered.",
    Kind.AUTO_REPLY: "This is an automatic answer and no bounce.",
    Kind.CHALLENGE: "This asks the sender to prove to be a person and is no bounce.",
    Kind.RECEIPT: "This is a receipt and no bounce.",
    Kind.OTHER: "This is no bounce.",
}
NO_COMPLAINT = "This is a feedback report that complains of nothing."

MAX_LOOKED_UP = 3
"""Message-IDs of one mail: it returns one message, and whoever writes it may list any number."""

SETTLING = timedelta(seconds=10)
"""A bounce that is faster than the end of its message's attempt is told so much later: sent first, bounced then."""

LEAST_BELIEVED = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Followed:
    """What a mail says of a message of ours: the event that it is, and how its own row tells it."""

    message: Message
    kind: EventKind
    row: str
    details: str = ""
    output: str = ""
    data: dict[str, Any] = field(default_factory=dict)  # Any: an event's data is JSON


async def take_return_path(incoming: Incoming, *, using: Receiving, now: datetime) -> Message:
    """Keep a mail for a return path, and tell of the bounce or complaint that it is.

    Twice, or the same bounce in another mail: one event.

    Raises:
        EnoughReported: more has come about the message than is kept.
        NotFound: the server is gone.
        StorageUnavailable: nothing was promised.
    """
    if isinstance(incoming.to, ToReturnPath) and incoming.to.message_id is not None:
        incoming = replace(incoming, about=About(incoming.to.message_id))
    found = await _understood(incoming, using=using, now=now)
    if isinstance(found, Followed):
        return await keep_followed(incoming, found, using=using, now=now)
    log.info("return_path_unmatched", extra={"server_id": incoming.server_id, "reason": found})
    route = await Routes(using.stores.records).get(incoming.server_id, "", RETURN_PATH)
    if route is not None:
        return await receive_route(replace(incoming, to=ToRoute(route)), using=using, now=now)
    return await keep_unmatched(incoming, found, using=using, now=now)


async def keep_followed(incoming: Incoming, found: Followed, *, using: Receiving, now: datetime) -> Message:
    """Keep the mail and tell what it says of its message.  Twice: one event."""
    original = found.message

    async def told(kept: Message) -> None:
        event = Event(
            found.kind,
            original.server_id,
            original.id,
            0,  # of the message, not of an attempt: it comes once
            now,
            details=found.details,
            output=found.output,
            data={**found.data, **_names(kept)},
        )
        wait = SETTLING if original.lease_until is not None and original.lease_until > now else timedelta(0)
        await using.stores.events.send([Outgoing(event.to_json(), group=str(event.server_id), delay=wait)])

    fate = Fate(status=Status.PROCESSED, details=found.row, bounce=True)
    return await keep(
        replace(incoming, about=About(original.id, found.kind.value)), fate, after=told, using=using, now=now
    )


async def keep_unmatched(incoming: Incoming, reason: str, *, using: Receiving, now: datetime) -> Message:
    """Keep a mail that says nothing of any message, with the reason."""

    async def told(kept: Message) -> None:
        await tell([received_event(kept, reason, now)], using=using)

    return await keep(
        incoming, Fate(status=Status.HARD_FAIL, details=reason, bounce=True), after=told, using=using, now=now
    )


async def _understood(incoming: Incoming, *, using: Receiving, now: datetime) -> Followed | str:
    """Return what the mail says of a message of the server, or why it changes nothing."""
    # Megabytes of somebody else's text: other sessions go on meanwhile.
    reading, complaint = await asyncio.to_thread(_read, incoming.raw)
    if complaint is not None and not complaint.is_against_us:
        return NO_COMPLAINT
    if complaint is None and reading.kind is not Kind.BOUNCE:
        return NO_BOUNCE.get(reading.kind, NO_COMPLAINT)
    original = await _original(incoming, reading, using)
    if original is None:
        return UNMATCHED
    if complaint is not None:
        named, span = complaint.recipients, COMPLAINTS_BELIEVED_FOR
    else:
        named = [one for each in reading.bounced for one in (each.recipient, each.final_recipient) if one]
        span = BOUNCES_BELIEVED_FOR
    believed_for = max(span / using.settings.time_factor, LEAST_BELIEVED)
    if reason := disbelief(original, named=named, now=now, believed_for=believed_for):
        return reason
    if complaint is not None:
        return _complained(original, complaint)
    report = about(original, reading.bounced)
    return UNMATCHED if report is None else _bounced(original, report)


def _read(raw: bytes) -> tuple[Reading, Complaint | None]:
    content = read_content(raw)
    reading = bounce_in(content)
    # Microsoft's old form looks like no report at all.
    return reading, complaint_in(content) if reading.kind in (Kind.COMPLAINT, Kind.OTHER) else None


async def _original(incoming: Incoming, reading: Reading, using: Receiving) -> Message | None:
    """Return the message that the address names, else the one whose token or Message-ID came back with it."""
    server = (await using.tenant(incoming)).server
    if isinstance(incoming.to, ToReturnPath) and incoming.to.message_id is not None:
        return await using.messages.get(server, incoming.to.message_id)
    for token in reading.originals.report_tokens:
        named = await named_by(token, tokens=using.tokens)
        if named is not None and named.server_id == server.id:
            return await using.messages.get(server, MessageId(named.message_id))
    return await _of_message_id(server, reading.originals.message_ids[:MAX_LOOKED_UP], using)


async def _of_message_id(server: Server, names: Sequence[str], using: Receiving) -> Message | None:
    """Return the message that we gave one of these Message-IDs; a customer's own names nothing."""
    for name in names:
        message_id = named_by_message_id(name)
        found = None if message_id is None else await using.messages.get(server, message_id)
        if found is not None and found.message_id == name:
            return found
    return None


def _bounced(original: Message, report: RecipientReport) -> Followed:
    return Followed(
        original,
        EventKind.BOUNCED,
        row=f"This has been detected as a bounce message for <msg:{original.id}>.",
        details=f"{report.recipient} could not be reached ({report.category.value}).",
        output=report.diagnostic,
        data={
            "type": report.type.value,
            "code": report.code,
            "category": report.category.value,
            "diagnostic": report.diagnostic,
            "recipient": original.rcpt_to,
        },
    )


def _complained(original: Message, complaint: Complaint) -> Followed:
    return Followed(
        original,
        EventKind.COMPLAINED,
        row=f"This is a complaint about <msg:{original.id}>.",
        details="The recipient reported this message as spam.",
        data={"type": complaint.type.value, "source": complaint.source, "user_agent": complaint.user_agent},
    )


def _names(kept: Message) -> dict[str, Any]:
    """Return what is told of the mail that reported it (Postal: message.rb, webhook_hash)."""
    return {
        "bounce_message": kept.id,
        "bounce_token": kept.token,
        "bounce_message_id": kept.message_id,
        "bounce_from": kept.mail_from,
        "bounce_subject": kept.subject,
    }
