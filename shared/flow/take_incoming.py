"""Take in one mail that came to port 25, wherever it is for.  250 may be said once it returns."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from shared.domain.complaint import Complaint, read_complaint
from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind
from shared.domain.ids import MessageId, ServerId
from shared.domain.incoming import (
    About,
    Incoming,
    ReportKind,
    ToPeople,
    ToReports,
    ToReturnPath,
    ToRoute,
    ToUnsubscribe,
)
from shared.domain.message import Direction, Message
from shared.flow.bounce import Followed, keep_followed, keep_unmatched, take_return_path
from shared.flow.find_inward import named_by
from shared.flow.receive_route import receive_route
from shared.flow.receiving import Receiving
from shared.flow.take_report import take_report

log = logging.getLogger(__name__)

NOT_KEPT = "The message that this unsubscribes from is not kept any more."


async def take_incoming(incoming: Incoming, *, using: Receiving, now: datetime) -> Message | None:
    """Take the mail in and return its record; None for a report that is only counted.

    Raises:
        EnoughReported: more has come about one of our messages than is kept.
        InvalidValue: what came to a report address is no report.
        NotFound: the server of the address is gone.
        StorageUnavailable: nothing was promised.
    """
    match incoming.to:
        case ToRoute():
            return await receive_route(incoming, using=using, now=now)
        case ToReturnPath():
            return await take_return_path(incoming, using=using, now=now)
        case ToUnsubscribe(_, message_id):
            return await _unsubscribe(incoming, message_id, using=using, now=now)
        case ToReports(kind, otherwise):
            if kind in (ReportKind.COMPLAINTS, ReportKind.ABUSE):
                return await _complain(incoming, otherwise, using=using, now=now)
            await take_report(incoming.raw, records=using.stores.records, now=now)
            return None
        case _:
            assert_never(incoming.to)


async def _unsubscribe(incoming: Incoming, message_id: MessageId, *, using: Receiving, now: datetime) -> Message:
    """Keep a mail to the address for unsubscribing; its event is the same as a click's."""
    original = await using.messages.get((await using.tenant(incoming)).server, message_id)
    if original is None or original.direction is not Direction.OUTGOING:
        return await keep_unmatched(replace(incoming, about=About(message_id)), NOT_KEPT, using=using, now=now)
    row = f"This unsubscribes the recipient of <msg:{original.id}>."
    data = {"ip": incoming.origin.address, "by": "mail"}
    followed = Followed(original, EventKind.UNSUBSCRIBED, row=row, data=data)
    return await keep_followed(incoming, followed, using=using, now=now)


async def _complain(
    incoming: Incoming, otherwise: ToPeople | None, *, using: Receiving, now: datetime
) -> Message | None:
    """Hand a complaint to the server whose message it names by our token; another one concerns nobody."""
    complaint = await asyncio.to_thread(read_complaint, incoming.raw)
    if complaint is None and otherwise is not None:
        to_people = replace(incoming, to=ToRoute(otherwise.route), rcpt_to=otherwise.address)
        return await receive_route(to_people, using=using, now=now)
    if complaint is None:
        raise InvalidValue("this is no feedback report")
    for token in complaint.originals.report_tokens:
        named = await named_by(token, tokens=using.tokens)
        if named is not None and await using.directory.tenant(ServerId(named.server_id)) is not None:
            to = ToReturnPath(ServerId(named.server_id), MessageId(named.message_id))
            return await take_return_path(replace(incoming, to=to), using=using, now=now)
    _note(complaint)
    return None


def _note(complaint: Complaint) -> None:
    # Whoever it concerns was hidden, and with it our token: nobody is suppressed.
    log.info("complaint_unmatched", extra={"source": complaint.source, "type": complaint.type.value})
