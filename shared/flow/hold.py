"""Holds: release sends the message after all, cancel and expiry end it unsent.

Each puts a job on the queue before it changes the record.  A job that finds its
message still held looks again in a while.  After a release it is the attempt; a
record without it would be lost mail.  After a cancel it finds the attempt settled
and completes what a crash has left out: the event.  Of a release and a cancel at
once one changes the record, and only that one is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import NotFound, WrongState
from shared.domain.event import event_of
from shared.domain.ids import MessageId, draw_ids, draw_token
from shared.domain.message import Delivery, Message, Status
from shared.domain.tenancy import Server
from shared.flow.queues import group_of, next_job, queue_of
from shared.flow.settle import Settling
from shared.ports import Item, Outgoing
from shared.store.held import HeldMessages

CANCELLED = "The hold on this message has been removed without action."
"""Postal's words (app/models/message.rb, cancel_hold)."""

MAX_PAGE = 100


@dataclass(frozen=True, slots=True)
class HeldPage:
    """Held messages of a server, oldest first."""

    messages: Sequence[Message]
    cursor: str | None
    """Pass to the next call; None at the end."""


async def held(server: Server, *, cursor: str | None = None, limit: int = 30, using: Settling) -> HeldPage:
    """Return a page of the server's held messages, oldest first.

    Raises:
        InvalidValue: the cursor is none.
    """
    ids, after = await HeldMessages(using.stores.records).page(server, cursor, limit=min(limit, MAX_PAGE))
    found = [await using.messages.get(server, each) for each in ids]
    return HeldPage([message for message in found if message is not None and message.held], after)


async def release(server: Server, message_id: MessageId, *, using: Settling) -> Message:
    """Let a held message go out; holds that a person may overrule do not apply again.

    Raises:
        NotFound: there is no such message.
        WrongState: it is not held.
    """
    message = await _held_message(server, message_id, using)
    await _send_job(server, message, using)
    released = await using.messages.leave_hold(server, message, {"status": Status.PENDING.value, "released": True})
    return await _off_the_list(server, message, released, using)


async def cancel(server: Server, message_id: MessageId, *, using: Settling, now: datetime) -> Message:
    """End a held message without sending it.

    Raises:
        NotFound: there is no such message.
        WrongState: it is not held.
    """
    message = await _held_message(server, message_id, using)
    row = Delivery(
        id=draw_ids(now, 1, using.rng)[0],
        attempt=message.attempt,
        status=Status.HOLD_CANCELLED,
        details=CANCELLED,
        output="",
        at=now,
        log_id=draw_token(using.rng, 8),
    )
    await _send_job(server, message, using)
    changes: Item = {"status": Status.HOLD_CANCELLED.value, "attempt": message.attempt + 1}
    left = await using.messages.leave_hold(server, message, changes, [row])
    cancelled = await _off_the_list(server, message, left, using)
    await using.stores.events.send([Outgoing(event_of(message, row).to_json(), group=str(server.id))])
    return cancelled


async def expire(server: Server, message_id: MessageId, attempt: int, *, using: Settling, now: datetime) -> None:
    """Cancel a hold whose time is up, unless it was released or cancelled before."""
    message = await using.messages.get(server, message_id)
    if message is None or not message.held or message.attempt != attempt:
        return
    await cancel(server, message_id, using=using, now=now)


async def _held_message(server: Server, message_id: MessageId, using: Settling) -> Message:
    message = await using.messages.get(server, message_id)
    if message is None:
        raise NotFound(f"there is no message {message_id} on the server {server.permalink}")
    if not message.held:
        raise WrongState(f"message {message_id} is not held; its status is {message.status.value}")
    return message


async def _send_job(server: Server, message: Message, using: Settling) -> None:
    job = next_job(message)
    await queue_of(using.stores, server, message).send([Outgoing(job.to_json(), group=group_of(job))])


async def _off_the_list(server: Server, message: Message, changed: Message | None, using: Settling) -> Message:
    if changed is None:
        raise WrongState(f"message {message.id} was released or cancelled by somebody else just now")
    # Only this hold's entry: the message may have been claimed and held again meanwhile.
    await HeldMessages(using.stores.records).remove(server, message.id, attempt=message.attempt)
    return changed
