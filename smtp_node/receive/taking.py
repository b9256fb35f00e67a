"""One message through the door: read it, judge its bytes, hand it in, answer."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.errors import MailError, MalformedMessage, SenderNotAllowed, StillInProgress, Unavailable
from shared.domain.headers import check_bytes
from shared.domain.message import Origin, Via
from shared.domain.submission import Submission
from smtp_node.receive import replies
from smtp_node.receive.commands import Sender
from smtp_node.receive.content import Content, Fault, has_longer_line, is_looping
from smtp_node.receive.inside import Grant
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.metering import MESSAGES
from smtp_node.receive.off_loop import QUICK_BYTES, is_quick, off_loop
from smtp_node.receive.recipients import Inbound, Outbound
from smtp_node.receive.replies import Reply, reply_to
from smtp_node.receive.session import Session
from smtp_node.receive.taking_in import take_in

log = logging.getLogger(__name__)

ACCEPT_WITHIN = timedelta(minutes=9)
"""RFC 5321 §4.5.3.2.6: clients wait 10 minutes for the reply to the final dot."""


PIECE_PAUSE_S = 0.001
"""Between two pieces of large messages: 128 to 256 KB a millisecond are more than a network brings."""

MOST_IN_WORK = 2
"""Messages that take a while, and are worked on at once: one of a client, whatever it sends and how often."""


@dataclass(slots=True)
class Transaction:
    """The envelope so far (RFC 5321 §3.3); changes while commands come in."""

    sender: Sender
    grant: Grant | None
    """Who the client was at MAIL; on port 25, at the first recipient elsewhere."""

    recipients: dict[str, Outbound] = field(default_factory=dict)
    """In the order given, each with whose message it becomes."""

    inward: dict[str, Inbound] = field(default_factory=dict)
    """Addresses of ours; a transaction has these or those."""

    overshoot: int = 0
    """Recipients refused because there were too many."""

    @property
    def begun(self) -> bool:
        """Whether somebody gets the message."""
        return bool(self.recipients or self.inward)

    def add(self, address: str, decision: Outbound | Inbound, limits: ReceiveLimits) -> Reply:
        """Add a recipient, once, and return what the client hears."""
        inward = isinstance(decision, Inbound)
        most = limits.max_inward_recipients if inward else limits.max_recipients
        there, other = (self.inward, self.recipients) if inward else (self.recipients, self.inward)
        if other:
            return replies.IN_ANOTHER_MESSAGE
        if address not in there and len(there) >= most:
            return replies.TOO_MANY_RECIPIENTS
        if isinstance(decision, Inbound):
            self.inward[address] = decision
        else:
            self.recipients[address] = decision
        return replies.RECIPIENT_OK

    def submission(self, raw: bytes, origin: Origin) -> Submission:
        """Return what is handed in: all recipients are the same tenant's."""
        grant = next(iter(self.recipients.values())).grant
        return Submission(
            tenant=grant.tenant,
            credential=grant.credential,
            mail_from=self.sender.address,
            recipients=tuple(self.recipients),
            raw=raw,
            origin=origin,
            bounce=not self.sender.address,
            request_digest=digest_of(self.sender.address, self.recipients, raw),
        )


async def take_message(session: Session, transaction: Transaction, *, helo: str, authenticated: bool) -> None:
    """Read the message after 354, hand it in, and answer.

    250 is said only after ``accept`` has returned: then the message is durable.  What was
    begun after the final dot is finished even if the client has gone, and the message's
    memory counts until then.

    Raises:
        ClientGone: the connection broke before the end; nothing was handed in.
    """
    house = session.house
    content = Content(session.limits.max_message_bytes, house.memory)
    with contextlib.ExitStack() as held:
        held.callback(content.release)
        if not await read_message(session, content):
            return
        session.expect_within(ACCEPT_WITHIN, replies.STORAGE_TOO_SLOW)
        if not content.is_quick:
            owner = session.client.network if session.client else ""
            room_bytes = max(content.held_bytes, session.limits.max_bytes_in_work // MOST_IN_WORK)
            if not await house.large.enter(owner, room_bytes):
                session.say(replies.NO_ROOM)
                return
            held.callback(house.large.leave, owner, room_bytes)
        work = _take(session, transaction, content, held.pop_all(), helo=helo, authenticated=authenticated)
        await house.finish(work)


async def _take(
    session: Session,
    transaction: Transaction,
    content: Content,
    held: contextlib.ExitStack,
    *,
    helo: str,
    authenticated: bool,
) -> None:
    with held:
        verdict = await off_loop(content.is_quick, judge, content, session.limits)
        if isinstance(verdict, Reply):
            _refuse(session, verdict)
            return
        origin = await _origin(session, helo, authenticated=authenticated)
        if transaction.inward:
            await take_in(session, transaction.inward, mail_from=transaction.sender.address, raw=verdict, origin=origin)
        else:
            await _hand_in(session, await off_loop(is_quick(verdict), transaction.submission, verdict, origin))


async def read_message(session: Session, content: Content) -> bool:
    """Read up to the final dot; False if we hung up before it."""
    limits, loop = session.limits, session.loop
    began = loop.time()
    latest = began + limits.without_mail.total_seconds()
    while True:
        # The average since DATA may not fall below the least rate once the grace is over; nor may it pause.
        paid = limits.data_grace.total_seconds() + content.seen_bytes / limits.min_data_rate
        pause = loop.time() + limits.data_pause.total_seconds()
        session.expect_until(min(began + paid, pause, latest), replies.TOO_SLOW)
        piece = await session.inflow.piece()
        if content.seen_bytes > QUICK_BYTES:
            # However many come at once and however fast: small mail in between waits for one piece, not for all.
            async with session.house.turn:
                await asyncio.sleep(PIECE_PAUSE_S)
        rest = content.feed(piece)
        if rest is not None:
            session.inflow.put_back(rest)
            return True
        if content.seen_bytes > limits.max_message_bytes + limits.max_drained_bytes:
            session.client_error("message-too-large")
            session.trouble()
            session.hang_up(replies.too_large(limits.max_message_bytes))
            return False


def judge(content: Content, limits: ReceiveLimits) -> bytes | Reply:
    """Return the message, or why its bytes alone rule it out."""
    if content.fault is Fault.TOO_LARGE:
        return replies.too_large(limits.max_message_bytes)
    if content.fault is Fault.HEAD_TOO_LARGE:
        return replies.HEAD_TOO_LARGE
    if content.fault is Fault.NO_ROOM:
        return replies.NO_ROOM
    raw = content.take()
    if len(raw) > limits.max_message_bytes:
        return replies.too_large(limits.max_message_bytes)
    try:
        check_bytes(raw)
    except MalformedMessage:
        return replies.BAD_LINE_ENDS
    if has_longer_line(raw, limits.max_text_line_bytes):
        return replies.TEXT_LINE_TOO_LONG
    if is_looping(raw, limits.hostname):
        return replies.LOOP_DETECTED
    return raw


def _refuse(session: Session, reply: Reply) -> None:
    if reply in (replies.HEAD_TOO_LARGE, replies.BAD_LINE_ENDS):
        session.trouble()
    if reply.code == 552:
        session.client_error("message-too-large")
    elif reply is replies.LOOP_DETECTED:
        session.client_error("loop-detected")
    if reply is replies.BAD_LINE_ENDS:
        # Whoever sends these may have meant what follows as a second message: none of it is read
        # (chasquid closes likewise after CVE-2023-52354).
        session.client_error("invalid-line-ends")
        session.hang_up(reply)
    else:
        session.say(reply)


async def _origin(session: Session, helo: str, *, authenticated: bool) -> Origin:
    """Say where the message came from, in the words of RFC 3848."""
    if authenticated:
        via = Via.ESMTPSA if session.over_tls else Via.ESMTPA
    else:
        via = Via.ESMTPS if session.over_tls else Via.ESMTP
    address = session.client.address if session.client else ""
    name = await session.house.inside.reverse_name(address) if address else ""
    return Origin(via, address=address, name=name, helo=helo)


async def _hand_in(session: Session, submission: Submission) -> None:
    house = session.house
    fields = {
        "trace_id": session.trace_id,
        "server_id": submission.tenant.server.id,
        "size_bytes": len(submission.raw),
        "recipients": len(submission.recipients),
    }
    try:
        accepted = await house.inside.accept(submission)
    except MailError as error:
        reply = reply_to(error)
        if isinstance(error, SenderNotAllowed):
            session.client_error("from-name-invalid")
        if isinstance(error, Unavailable) and not isinstance(error, StillInProgress):
            log.exception("message_not_stored", extra=fields)
        else:
            log.info("message_refused", extra={**fields, "smtp_code": reply.code, "reason": str(error)})
        session.say(reply)
        return
    first = next(iter(accepted.messages.values())).id
    log.info("message_received", extra={**fields, "message_id": first})
    house.meter.count(MESSAGES, type="outgoing", tls="yes" if session.over_tls else "no")
    session.message_accepted()
    session.say(replies.queued(first))


def digest_of(mail_from: str, recipients: Iterable[str], raw: bytes) -> str:
    """Return what makes a repeated message the same one: a hash of envelope and bytes."""
    envelope = "\n".join([mail_from, *recipients]) + "\n\n"  # no address holds a line end
    digest = hashlib.sha256(envelope.encode())
    digest.update(raw)
    return digest.hexdigest()
