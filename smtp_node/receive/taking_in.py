"""A message for addresses of ours: stamped with where it came from, and taken in for each recipient.

It is scanned once, if any recipient is a route: bounces and reports quote what we or others sent, so a
scan of them would say nothing of whoever brings them.

Recipients are taken one after the other.  If one cannot be, the client hears 451 and
comes again with all of them; those that were taken are recognised by their bytes.  If the
scanners' answer fails it for all of them the client hears 550: an honest sender should
know, and a bounce would go to a forged one.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime

from shared.domain.errors import InvalidValue, MailError, MalformedMessage, Unavailable
from shared.domain.incoming import Incoming, ToRoute
from shared.domain.inspection import NO_RULING, NOT_INSPECTED, Inspection
from shared.domain.inspection_fields import without_forged_fields
from shared.domain.message import Message, Origin, Status
from shared.flow.keep_incoming import digest_of, fingerprint
from shared.flow.rule import Ruled
from smtp_node.receive import replies
from smtp_node.receive.metering import MESSAGES
from smtp_node.receive.off_loop import is_quick, off_loop
from smtp_node.receive.recipients import Inbound
from smtp_node.receive.replies import reply_to
from smtp_node.receive.session import Session
from smtp_node.scan.scanner import ScannedMail

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
    """What became of a mail for all its recipients."""

    first: Message | None
    """The first record; None if reports alone were counted."""

    refused: Message | None
    """One of its records, if the scanners' answer failed it for all recipients."""


async def _take_all(
    session: Session, recipients: Mapping[str, Inbound], *, mail_from: str, raw: bytes, origin: Origin
) -> _Taken:
    inside = session.house.inside
    try:
        field, clean, stated = await inside.authenticate(raw, mail_from, origin)
    except MalformedMessage:
        # Bounces of old systems have strange heads; they must come in all the same.
        field, clean, stated = b"", raw, ""
    quick = is_quick(raw)
    clean = await off_loop(quick, without_forged_fields, clean)
    sent = await off_loop(quick, fingerprint, raw)
    now = inside.clock()
    date = format_datetime(now)
    inspection = await _inspect(session, recipients, (field, clean), mail_from=mail_from, origin=origin, date=date)
    first: Message | None = None
    failed: list[Message] = []
    for address, inbound in recipients.items():
        received = _received(origin, session.limits.hostname, address, date)
        ruled = NOT_RULED
        if isinstance(inbound.to, ToRoute):
            ruled = await inside.rule(inbound.to.route, inspection)
        incoming = Incoming(
            to=inbound.to,
            rcpt_to=inbound.address,
            mail_from=mail_from,
            # On top: a mail that begins with a folded line must not go on with a field that scanners filled.
            raw=await off_loop(quick, b"".join, (ruled.fields, received, field, clean)),
            origin=origin,
            received_at=now,
            digest=digest_of(address, mail_from, sent),
            authentication=stated,
            ruling=ruled.ruling,
        )
        kept = await inside.take_in(incoming)
        first = first or kept
        # The record knows: of a repeated mail the first ruling counts.
        if kept is not None and kept.status is Status.HARD_FAIL and isinstance(inbound.to, ToRoute):
            failed.append(kept)
    return _Taken(first, failed[0] if len(failed) == len(recipients) else None)


async def _inspect(
    session: Session,
    recipients: Mapping[str, Inbound],
    parts: Sequence[bytes],
    *,
    mail_from: str,
    origin: Origin,
    date: str,
) -> Inspection:
    """Return what the scanners say of the mail, once for all routes it is for."""
    routed = [inbound.address for inbound in recipients.values() if isinstance(inbound.to, ToRoute)]
    if not routed:
        return NOT_INSPECTED
    mail = ScannedMail(
        content=(_received(origin, session.limits.hostname, routed[0], date), *parts),
        mail_from=mail_from,
        rcpt_to=tuple(routed),
        address=origin.address,
        name=origin.name,
        helo=origin.helo,
        queue_id=session.trace_id,
    )
    return await session.house.inside.inspect(mail)


def _received(origin: Origin, hostname: str, address: str, date: str) -> bytes:
    """Return the Received field of this hop (RFC 5321 §4.4); it is what loops are recognised by."""
    helo = "".join(char for char in origin.helo if char.isascii() and (char.isalnum() or char in ".:-_[]"))[:255]
    client = f"{helo or 'unknown'} ({origin.name or 'unknown'} [{origin.address}])"
    lines = [f"Received: from {client}", f"by {hostname} with {origin.via.value}", f"for <{address}>; {date}"]
    return ("\r\n\t".join(lines) + "\r\n").encode()
