"""Settle: write down what an attempt ended in, and what follows from it.

In this order, each step safe to repeat:

1. one conditional update of the message under its claim;
2. the delayed job or schedule entry, if it is to be tried again or is held;
3. the bounce, if incoming mail failed for good; the event;
4. the caller deletes the job.

A crash between the steps leaves the job on the queue.  The next node finds the
record past the job's attempt and calls ``complete``, which repeats 2 and 3 from
what the record says.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from shared.domain.event import Event, EventKind, event_of, tells
from shared.domain.ids import draw_ids, draw_token
from shared.domain.inspection import Ruling
from shared.domain.message import Delivery, Direction, Evidence, Message, Status
from shared.domain.moments import to_ms
from shared.domain.outcome import HardFail, Held, Outcome, Postponed, Processed, Sent, SoftFail
from shared.domain.retry import RetrySchedule, hinted_or_own
from shared.domain.tenancy import Server, Tenant
from shared.flow.bounce_back import bounce_back
from shared.flow.claim import Claimed
from shared.flow.queues import group_of, next_job, queue_of
from shared.ports import MAX_DELAY, Item, Outgoing, Records, Stores
from shared.settings import Settings
from shared.store.held import HeldMessages
from shared.store.message_items import ruling_item
from shared.store.messages import Messages
from shared.store.schedule import Entry, Schedule

ABANDONED = "The node that made this attempt went away before its end; the message may be sent more than once."
LONG_WAIT = timedelta(hours=1)
"""So long a message may be postponed, for reasons of ours, before that is an event."""

MAX_DETAILS = 250
MAX_OUTPUT = 512


@dataclass(frozen=True, slots=True)
class Settling:
    """What settling needs."""

    stores: Stores
    messages: Messages
    schedule: Schedule
    settings: Settings
    rng: random.Random

    @property
    def retries(self) -> RetrySchedule:
        """The retry schedule of the settings."""
        return RetrySchedule(self.settings.first_retry, self.settings.retry_growth, self.settings.max_attempts)


async def settle(
    claimed: Claimed,
    outcome: Outcome,
    *,
    took: timedelta,
    prefer_ip: str = "",
    ruling: Ruling | None = None,
    using: Settling,
    now: datetime,
) -> bool:
    """Write the outcome of a claimed attempt; False if the claim was lost meanwhile.

    Args:
        claimed: as ``claim`` returned it.
        outcome: what the attempt ended in.
        took: how long the attempt lasted.
        prefer_ip: source address that the next attempt should come from, if possible.
        ruling: what a scan in this attempt said; kept, so that no later attempt scans again.
        using: what settling needs.
        now: the moment of the outcome.
    """
    if isinstance(outcome, Postponed):
        await _tell_of_long_wait(claimed.message, outcome, using=using, now=now)
    changes, rows = _decide(claimed, outcome, took=took, using=using, now=now)
    if ruling is not None:
        changes |= ruling_item(ruling)
    abandoned = [_row(claimed.message, Status.SOFT_FAIL, ABANDONED, now=now, using=using)] if claimed.abandoned else []
    message = await using.messages.settle(claimed.tenant.server, claimed.message, changes, [*abandoned, *rows])
    if message is None:
        return False
    # The abandoned attempt is no event of its own: its successor tells the story.
    await complete(claimed.tenant, message, rows, prefer_ip=prefer_ip, using=using, now=now)
    return True


async def _tell_of_long_wait(message: Message, outcome: Postponed, *, using: Settling, now: datetime) -> None:
    """Put an event on its queue if the message will have waited for ``LONG_WAIT`` before it is looked at again.

    Before the claim ends, so that no crash leaves it out; its id is that of the
    attempt, so that it comes once.
    """
    long = (message.last_delivery_at or message.accepted_at) + LONG_WAIT / using.settings.time_factor
    if now < long <= outcome.until:
        event = Event(
            EventKind.POSTPONED,
            message.server_id,
            message.id,
            message.attempt,
            now,
            details=outcome.reason[:MAX_DETAILS],
        )
        await using.stores.events.send([Outgoing(event.to_json(), group=str(message.server_id))])


def _decide(
    claimed: Claimed, outcome: Outcome, *, took: timedelta, using: Settling, now: datetime
) -> tuple[Item, Sequence[Delivery]]:
    """Return the changes of the message and the delivery row of this attempt, if it leaves one."""
    message = claimed.message
    if isinstance(outcome, Postponed):
        return {"claims": 0, "next_at": to_ms(outcome.until)}, ()
    changes: Item = {"attempt": message.attempt + 1, "claims": 0, "next_at": 0, "last_at": to_ms(now)}
    evidence, output = Evidence(), ""
    match outcome:
        case Sent(details, output, evidence):
            status = Status.SENT
        case SoftFail(details, output, evidence):
            failures = message.failures + 1
            changes["failures"] = failures
            if using.retries.exhausted(failures):
                status = Status.HARD_FAIL
                details = f"Given up after {failures} attempts. {details}"
            else:
                status = Status.SOFT_FAIL
                changes["next_at"] = to_ms(now + _wait(outcome, failures, using))
            if outcome.maybe_sent:
                details = f"{details} The message may be sent more than once."
        case HardFail(details, output, evidence):
            status = Status.HARD_FAIL
        case Processed(details):
            status = Status.PROCESSED
        case Held(details):
            status = Status.HELD
            changes["held"] = True
            changes["hold_until"] = to_ms(now + using.settings.hold_expiry / using.settings.time_factor)
        case _:
            assert_never(outcome)
    changes["status"] = status.value
    return changes, [_row(message, status, details, output=output, evidence=evidence, took=took, now=now, using=using)]


def _wait(outcome: SoftFail, failures: int, using: Settling) -> timedelta:
    own = using.retries.wait_after(failures, jitter=using.rng.random())
    return hinted_or_own(outcome.retry_after, own, failures) / using.settings.time_factor


def _row(
    message: Message,
    status: Status,
    details: str,
    *,
    output: str = "",
    evidence: Evidence | None = None,
    took: timedelta | None = None,
    now: datetime,
    using: Settling,
) -> Delivery:
    return Delivery(
        id=draw_ids(now, 1, using.rng)[0],
        attempt=message.attempt,
        status=status,
        details=details[:MAX_DETAILS],
        output=output[:MAX_OUTPUT],
        at=now,
        log_id=draw_token(using.rng, 8),
        duration=took,
        evidence=evidence or Evidence(),
    )


async def complete(
    tenant: Tenant,
    message: Message,
    rows: Sequence[Delivery],
    *,
    prefer_ip: str = "",
    using: Settling,
    now: datetime,
) -> None:
    """Do what follows from a settled attempt, steps 2 and 3.  Twice: nothing more.

    Args:
        tenant: the message's.
        message: as it stands now; a later attempt may have been settled since.
        rows: the delivery rows of the attempt; the last one is its event.
        prefer_ip: source address for the next attempt.
        using: what settling needs.
        now: a retry that is already due goes out at once.
    """
    if message.held and message.hold_expires_at is not None:
        until = max(message.hold_expires_at, now)
        records, settings = using.stores.records, using.settings
        await keep_held(tenant.server, message, until, records=records, schedule=using.schedule, settings=settings)
    elif message.next_attempt_at is not None and not message.claims:
        # Claims would mean that the next job was sent: another one would live on beside it.
        await _send_later(tenant, message, message.next_attempt_at, prefer_ip=prefer_ip, using=using, now=now)
    if rows and rows[-1].status is Status.HARD_FAIL and message.direction is Direction.INCOMING:
        await bounce_back(
            tenant, message, rows[-1], stores=using.stores, messages=using.messages, settings=using.settings, now=now
        )
    if rows and tells(rows[-1]):
        event = event_of(message, rows[-1])
        await using.stores.events.send([Outgoing(event.to_json(), group=str(message.server_id))])


async def keep_held(
    server: Server, message: Message, until: datetime, *, records: Records, schedule: Schedule, settings: Settings
) -> None:
    """List a held message and see to it that its hold ends.  Twice: nothing more.

    Args:
        server: the message's.
        message: held, or about to be.
        until: not in the past: nobody looks at minutes that were finished during a long stop.
        records: where the list lies.
        schedule: ends the hold.
        settings: say how long messages are kept.
    """
    kept_until = message.accepted_at + settings.message_retention
    await HeldMessages(records).put(server, message.id, attempt=message.attempt, kept_until=kept_until)
    item: Item = {
        "do": "expire_hold",
        "server": message.server_id,
        "message": message.id,
        "attempt": message.attempt,
    }
    await schedule.put(Entry(until, message.server_id, message.id, message.attempt, "hold", item))


async def _send_later(
    tenant: Tenant, message: Message, due: datetime, *, prefer_ip: str, using: Settling, now: datetime
) -> None:
    """Put the message's next job on its queue, at its moment."""
    job = next_job(message, prefer_ip)
    queue, group, body = queue_of(using.stores, tenant.server, message), group_of(job), job.to_json()
    wait = max(due - now, timedelta(0))
    if wait > MAX_DELAY / using.settings.time_factor:
        item: Item = {"do": "send_job", "pool": tenant.server.ip_pool, "group": group, "job": body}
        if queue is using.stores.inbound:
            item = {"do": "send_inbound", "group": group, "job": body}
        entry = Entry(due, message.server_id, message.id, message.attempt, "job", item)
        if await using.schedule.put(entry):
            return
        wait = timedelta(0)
    await queue.send([Outgoing(body, group=group, delay=wait)])
