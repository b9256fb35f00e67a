"""A message for addresses of ours: stamped with where it came from, and taken in for each recipient.

It is scanned once, if any recipient is a route: bounces and reports quote what we or others sent, so a
scan of them would say nothing of whoever brings them.

Recipients are taken one after the other.  If one cannot be taken now, the client hears 451
and comes again with all of them; those that were taken are recognised by their bytes.
What one recipient refuses does not keep the mail from the others: 550 comes if nobody takes
it.  If that is for the scanners' answer, an honest sender should know, and a bounce would go
to a forged one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.errors import InvalidValue, MailError, Refused, Unavailable
from shared.domain.incoming import Incoming, ToRoute
from shared.domain.inspection import NO_RULING, NOT_INSPECTED, Inspection
from shared.domain.message import Message, Origin, Status
from shared.flow.reserve_incoming import digest_of
from shared.flow.rule import Ruled
from smtp_node.receive import replies
from smtp_node.receive.metering import MESSAGES
from smtp_node.receive.off_loop import is_quick, off_loop
from smtp_node.receive.recipients import Inbound
from smtp_node.receive.replies import reply_to
from smtp_node.receive.session import Session
from smtp_node.receive.stamping import Stamped, stamp

log = logging.getLogger(__name__)

NOT_RULED = Ruled(NO_RULING, b"")


async def take_in(
    session: Session, recipients: Mapping[str, Inbound], *, mail_from: str, raw: bytes, origin: Origin
) -> None:
    """Take the message in for every recipient and answer; 250 only once all are durable."""
    fields = {"trace_id": session.trace_id, "size_bytes": len(raw), "recipients": len(recipients)}
    try:
        outcome = await _take_all(session, recipients, mail_from=mail_from, raw=raw, origin=origin)
    except InvalidValue as error:
        # Only report addresses look into what they are sent.
        log.info("report_refused", extra={**fields, "reason": str(error)})
        session.say(replies.NO_REPORT)
        return
    except MailError as error:
        if isinstance(error, Unavailable):
            log.exception("message_not_stored", extra=fields)
        session.say(reply_to(error))
        return
    taken, refused = outcome.first, outcome.refused
    fields["message_id"] = taken.id if taken else 0
    if refused is not None:
        reason = "threat" if refused.threat else "spam"
        log.info("message_failed_at_once", extra={**fields, "reason": reason})
        session.client_error(reason)
        session.say(replies.THREAT if refused.threat else replies.SPAM)
        return
    log.info("message_taken_in", extra=fields)
    session.house.meter.count(MESSAGES, len(recipients), type="incoming", tls="yes" if session.over_tls else "no")
    session.message_accepted()
    session.say(replies.queued(taken.id) if taken else replies.OK)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of a mail that was taken for somebody, or that scanners failed for all."""

    first: Message | None
    """The first record; None if reports alone were counted."""

    refused: Message | None
    """One of its records, if nobody takes it for the scanners' answer."""


async def _take_all(
    session: Session, recipients: Mapping[str, Inbound], *, mail_from: str, raw: bytes, origin: Origin
) -> _Taken:
    """Take the mail for every recipient.

    Raises:
        Refused: nobody takes it, and not for what scanners say.
        Unavailable: somebody could not take it now.
    """
    mail = await stamp(session, mail_from=mail_from, raw=raw, origin=origin)
    inspection = await _inspect(session, recipients, mail)
    taken: list[Message | None] = []
    failed: list[Message] = []
    refusals: list[Refused] = []
    for address, inbound in recipients.items():
        try:
            kept = await _take(session, address, inbound, mail, inspection)
        except Refused as error:
            log.info("recipient_refused", extra={"trace_id": session.trace_id, "reason": str(error)})
            refusals.append(error)
            continue
        # The record knows: of a repeated mail the first ruling counts.
        if kept is not None and kept.status is Status.HARD_FAIL and isinstance(inbound.to, ToRoute):
            failed.append(kept)
        else:
            taken.append(kept)
    if not taken and not failed:
        raise refusals[0]
    if not taken:
        return _Taken(failed[0], failed[0])
    return _Taken(next((each for each in (*taken, *failed) if each is not None), None), None)


async def _take(
    session: Session, address: str, inbound: Inbound, mail: Stamped, inspection: Inspection
) -> Message | None:
    inside = session.house.inside
    ruled = await inside.rule(inbound.to.route, inspection) if isinstance(inbound.to, ToRoute) else NOT_RULED
    incoming = Incoming(
        to=inbound.to,
        rcpt_to=inbound.address,
        mail_from=mail.mail_from,
        raw=await off_loop(is_quick(mail.clean), b"".join, (ruled.fields, *mail.parts(address))),
        origin=mail.origin,
        received_at=mail.at,
        digest=digest_of(inbound.to, address, mail.mail_from, mail.came),
        authentication=mail.authentication,
        ruling=ruled.ruling,
    )
    return await inside.take_in(incoming)


async def _inspect(session: Session, recipients: Mapping[str, Inbound], mail: Stamped) -> Inspection:
    """Return what the scanners say of the mail, once for all routes it is for."""
    routed = [inbound.address for inbound in recipients.values() if isinstance(inbound.to, ToRoute)]
    if not routed:
        return NOT_INSPECTED
    return await session.house.inside.inspect(mail.shown_to_scanners(routed, session.trace_id))
