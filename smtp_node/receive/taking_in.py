"""A message for addresses of ours: stamped with where it came from, and taken in for each recipient.

Recipients are taken one after the other.  If one cannot be, the client hears 451 and
comes again with all of them; those that were taken are recognised by their bytes.
"""

import logging
from collections.abc import Mapping
from email.utils import format_datetime

from shared.domain.errors import InvalidValue, MailError, MalformedMessage, Unavailable
from shared.domain.incoming import Incoming
from shared.domain.message import Message, Origin
from shared.flow.keep_incoming import digest_of
from smtp_node.receive import replies
from smtp_node.receive.metering import MESSAGES
from smtp_node.receive.recipients import Inbound
from smtp_node.receive.replies import reply_to
from smtp_node.receive.session import Session

log = logging.getLogger(__name__)


async def take_in(
    session: Session, recipients: Mapping[str, Inbound], *, mail_from: str, raw: bytes, origin: Origin
) -> None:
    """Take the message in for every recipient and answer; 250 only once all are durable."""
    fields = {"trace_id": session.trace_id, "size_bytes": len(raw), "recipients": len(recipients)}
    try:
        taken = await session.house.finish(_take_all(session, recipients, mail_from=mail_from, raw=raw, origin=origin))
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
    log.info("message_taken_in", extra={**fields, "message_id": taken.id if taken else 0})
    session.house.meter.count(MESSAGES, len(recipients), type="incoming", tls="yes" if session.over_tls else "no")
    session.message_accepted()
    session.say(replies.queued(taken.id) if taken else replies.OK)


async def _take_all(
    session: Session, recipients: Mapping[str, Inbound], *, mail_from: str, raw: bytes, origin: Origin
) -> Message | None:
    inside = session.house.inside
    try:
        field, clean, stated = await inside.authenticate(raw, mail_from, origin)
    except MalformedMessage:
        # Bounces of old systems have strange heads; they must come in all the same.
        field, clean, stated = b"", raw, ""
    first: Message | None = None
    now = inside.clock()
    for address, inbound in recipients.items():
        received = _received(origin, session.limits.hostname, address, format_datetime(now))
        incoming = Incoming(
            to=inbound.to,
            rcpt_to=inbound.address,
            mail_from=mail_from,
            raw=b"".join((received, field, clean)),
            origin=origin,
            received_at=now,
            digest=digest_of(address, mail_from, raw),
            authentication=stated,
        )
        kept = await inside.take_in(incoming)
        first = first or kept
    return first


def _received(origin: Origin, hostname: str, address: str, date: str) -> bytes:
    """Return the Received field of this hop (RFC 5321 §4.4); it is what loops are recognised by."""
    helo = "".join(char for char in origin.helo if char.isascii() and (char.isalnum() or char in ".:-_[]"))[:255]
    client = f"{helo or 'unknown'} ({origin.name or 'unknown'} [{origin.address}])"
    lines = [f"Received: from {client}", f"by {hostname} with {origin.via.value}", f"for <{address}>; {date}"]
    return ("\r\n\t".join(lines) + "\r\n").encode()
