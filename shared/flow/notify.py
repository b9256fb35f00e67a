"""Notify: deliver a parcel to its endpoint, once for each notice.

=====================================  =======================================
what the parcel finds                  what becomes of it
=====================================  =======================================
endpoint gone or disabled              dropped; the event log still has it
lane full                              put off some seconds, no attempt lost
lane paused (breaker open)             the attempt counts as failed, unsent
free claim, same attempt               sent
lease of somebody else                 comes back when its visibility ends
attempt over                           what follows is done again, then dropped
=====================================  =======================================

After the attempt, in this order, each step safe to repeat: the parcel's record
under its claim, the next attempt (queue or schedule), and only then the caller
deletes the message.  A kill between an answer and the record sends the notices of
that attempt again, with the same ids.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.endpoint import Endpoint
from shared.domain.errors import Unavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId
from shared.domain.moments import to_ms
from shared.domain.notice import Notice
from shared.domain.parcel import Parcel
from shared.domain.webhook_retry import DISABLED_AFTER, MOST_RETRY_AFTER, WAITS, retry_after, wait_before
from shared.flow.hand_on import group_of
from shared.flow.lanes import Lane, Lanes
from shared.flow.webhook_request import Requests
from shared.network import HTTPAnswer
from shared.ports import MAX_DELAY, Clock, Item, Outgoing, Queue
from shared.settings import Settings
from shared.store.endpoints import Endpoints
from shared.store.parcels import Parcels, ParcelState, Tried
from shared.store.schedule import Entry, Schedule

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
"""How long a claim holds; kept alive as long as the attempt lasts."""

HEARTBEAT_S = 10.0
BUDGET = timedelta(seconds=45)
"""Afterwards no further notice of the parcel is begun; the rest goes on in the next attempt."""

PUT_OFF = timedelta(seconds=2)
ANSWER_CHARACTERS = 200
GONE = 410

ENDPOINT_GONE = "The endpoint answered 410 Gone."
FAILED_FOR_LONG = "Every delivery has failed for five days."


@dataclass(frozen=True, slots=True)
class Notifying:
    """What notifying needs; one for each process."""

    endpoints: Endpoints
    parcels: Parcels
    schedule: Schedule
    webhooks: Queue
    events: Queue
    requests: Requests
    lanes: Lanes
    settings: Settings
    clock: Clock
    rng: random.Random


@dataclass(frozen=True, slots=True)
class _Sent:
    """One notice of an attempt; without an answer it was not sent."""

    notice: Notice
    name: str
    """Empty if the endpoint's dialect does not have the event."""

    answer: HTTPAnswer | None

    @property
    def delivered(self) -> bool:
        return self.answer is not None and 200 <= self.answer.status < 300


async def notify(parcel: Parcel, *, using: Notifying) -> bool:
    """Work on a parcel; True if its message may be deleted, False if it must come back.

    Raises:
        StorageUnavailable: it must come back.
    """
    endpoint = await using.endpoints.get(parcel.server_id, parcel.endpoint_id)
    if endpoint is None or not endpoint.enabled:
        log.info("webhook_parcel_dropped", extra=_names(parcel))
        return True
    lane = using.lanes.of(endpoint)
    # While one parcel is on trial, the others count as paused: they wait longer each time.
    if lane.paused(using.clock()) or (lane.on_trial and lane.full):
        return await _attempt(parcel, endpoint, lane, unsent=True, using=using)
    if not await lane.enter(using.lanes.patience_s):
        await _put_off(parcel, using)
        return True
    try:
        return await _attempt(parcel, endpoint, lane, unsent=False, using=using)
    finally:
        lane.leave()


async def _attempt(parcel: Parcel, endpoint: Endpoint, lane: Lane, *, unsent: bool, using: Notifying) -> bool:
    now = using.clock()
    claimed = await using.parcels.claim(parcel, now=now, lease_until=now + LEASE)
    if claimed is None:
        return await _not_ours(parcel, using)
    keeping = asyncio.create_task(_keep(parcel, claimed, using))
    try:
        sent = [] if unsent else await _send(parcel, endpoint, lane, using)
    finally:
        keeping.cancel()
    await _settle(parcel, claimed, endpoint, lane, sent=sent, using=using)
    return True


async def _keep(parcel: Parcel, claimed: ParcelState, using: Notifying) -> None:
    """Keep the claim alive until cancelled."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        try:
            await using.parcels.extend_lease(parcel, claimed, using.clock() + LEASE)
        except Unavailable:
            log.warning("webhook_lease_not_extended", exc_info=True, extra=_names(parcel))


async def _put_off(parcel: Parcel, using: Notifying) -> None:
    """Let the parcel come again in some seconds, spread so that not all come at once."""
    delay = PUT_OFF * (0.5 + using.rng.random())
    await using.webhooks.send([Outgoing(parcel.to_json(), group=group_of(parcel), delay=delay)])


async def _not_ours(parcel: Parcel, using: Notifying) -> bool:
    """Find out why the claim failed: somebody has it, or the attempt is over."""
    state = await using.parcels.get(parcel)
    if state is not None and state.attempt == parcel.attempt:
        return False
    if state is not None and state.attempt == parcel.attempt + 1 and state.left and state.next_at:
        # Whoever settled it may have died before the next attempt was on its way.
        await _send_on(parcel.following(state.left), state.next_at, using)
    if state is None:
        log.warning("webhook_parcel_forgotten", extra=_names(parcel))
    return True


async def _send(parcel: Parcel, endpoint: Endpoint, lane: Lane, using: Notifying) -> Sequence[_Sent]:
    """Send the notices, some at once; on trial the first decides about the others."""
    until = using.clock() + BUDGET
    first: list[_Sent] = []
    rest = list(parcel.notices)
    if lane.on_trial:
        first = [await _send_one(rest.pop(0), endpoint, lane, until, using)]
    return first + await asyncio.gather(*(_send_one(each, endpoint, lane, until, using) for each in rest))


async def _send_one(notice: Notice, endpoint: Endpoint, lane: Lane, until: datetime, using: Notifying) -> _Sent:
    async with lane.requests:
        now = using.clock()
        made = await using.requests.make(notice, endpoint, now=now)
        if made is None or lane.paused(now) or now >= until:
            return _Sent(notice, "" if made is None else made.name, None)
        answer = await using.requests.send(made)
        sent = _Sent(notice, made.name, answer)
        if sent.delivered:
            lane.succeeded(answer.took)
        else:
            now = using.clock()
            lane.failed(now, using.settings.time_factor)
            if asked := retry_after(answer.status, answer.headers, now):
                lane.wait_until(now + min(asked, MOST_RETRY_AFTER) / using.settings.time_factor)
        return sent


async def _settle(
    parcel: Parcel, claimed: ParcelState, endpoint: Endpoint, lane: Lane, *, sent: Sequence[_Sent], using: Notifying
) -> None:
    now = using.clock()
    tried = [each for each in sent if each.answer is not None]
    over = {str(each.notice.event.id) for each in sent if each.delivered or not each.name}
    left = [str(each.event.id) for each in parcel.notices if str(each.event.id) not in over]
    next_at = _next_at(parcel, endpoint, sent, using, now) if left else None
    gone = any(each.answer is not None and each.answer.status == GONE for each in sent)
    if next_at is None or gone:
        left, next_at = [], None
    state = await using.parcels.settle(
        parcel, claimed, left=left, next_at=next_at, tried=[_tried(each, parcel, now) for each in tried], now=now
    )
    if state is None:
        log.warning("webhook_claim_lost", extra=_names(parcel))
        return
    await _note_health(endpoint, lane, gone=gone, worked=any(each.delivered for each in sent), using=using, now=now)
    if next_at is not None:
        await _send_on(parcel.following(left), next_at, using)
    log.info("webhook_parcel_settled", extra=_names(parcel) | _counts(parcel, sent, left))


def _next_at(
    parcel: Parcel, endpoint: Endpoint, sent: Sequence[_Sent], using: Notifying, now: datetime
) -> datetime | None:
    """Return when what is left is tried again, or None if it is given up."""
    asked = [
        retry_after(each.answer.status, each.answer.headers, now) for each in sent if each.answer and not each.delivered
    ]
    hint = max((each for each in asked if each is not None), default=None)
    wait = wait_before(parcel.attempt + 1, retry_after=hint, jitter=using.rng.random())
    if wait is None:
        if endpoint.failing_since is None:
            return None
        wait = WAITS[-1]  # it works for nobody: an outage loses nothing, until the endpoint is disabled
    return now + wait / using.settings.time_factor


async def _send_on(parcel: Parcel, due: datetime, using: Notifying) -> None:
    """Put the next attempt on its way: the queue for minutes, the schedule for more.  Twice: claimed once."""
    now = using.clock()
    wait = max(due - now, timedelta(0))
    body, group = parcel.to_json(), group_of(parcel)
    if wait > MAX_DELAY / using.settings.time_factor:
        item: Item = {"do": "send_parcel", "group": group, "parcel": body}
        number = int(parcel.id, 16) % 10**15
        entry = Entry(due, parcel.server_id, number, parcel.attempt, f"parcel-{parcel.id}", item)
        if await using.schedule.put(entry):
            return
        wait = timedelta(0)
    await using.webhooks.send([Outgoing(body, group=group, delay=wait)])


async def _note_health(
    endpoint: Endpoint, lane: Lane, *, gone: bool, worked: bool, using: Notifying, now: datetime
) -> None:
    """Write down what others must know of the endpoint: that it fails, works again, or is disabled."""
    if gone:
        await disable(endpoint, ENDPOINT_GONE, using=using, now=now)
    elif worked:
        if endpoint.failing_since is not None or endpoint.paused_until is not None:
            await using.endpoints.note_working(endpoint)
    elif endpoint.failing_since is None or (lane.paused(now) and lane.paused_until != endpoint.paused_until):
        since = endpoint.failing_since or now
        await using.endpoints.note_failing(endpoint, since=since, paused_until=lane.paused_until, pauses=lane.pauses)
    failing_for = now - (endpoint.failing_since or now)
    if not worked and not gone and failing_for >= DISABLED_AFTER / using.settings.time_factor:
        await disable(endpoint, FAILED_FOR_LONG, using=using, now=now)


async def disable(endpoint: Endpoint, reason: str, *, using: Notifying, now: datetime) -> None:
    """Disable an endpoint and tell the server's other endpoints.  Twice: told once."""
    event = Event(
        EventKind.ENDPOINT_DISABLED,
        endpoint.server_id,
        MessageId(0),
        0,
        now,
        details=reason,
        subject=f"{endpoint.id}:{to_ms(endpoint.failing_since or now)}",
        data={"endpoint": endpoint.id, "url": endpoint.url[:200]},
    )
    # The event first: its id is the same for the same outage, so a second one changes nothing.
    await using.events.send([Outgoing(event.to_json(), group=str(endpoint.server_id))])
    await using.endpoints.disable(endpoint, reason)
    log.warning("webhook_endpoint_disabled", extra={"endpoint_id": endpoint.id, "server_id": endpoint.server_id})


def _tried(sent: _Sent, parcel: Parcel, now: datetime) -> Tried:
    answer = sent.answer
    if answer is None:
        raise ValueError("only what was sent was tried")
    text = answer.error or answer.body[: 4 * ANSWER_CHARACTERS].decode("utf-8", "replace")[:ANSWER_CHARACTERS]
    return Tried(
        event_id=str(sent.notice.event.id),
        name=sent.name,
        status=answer.status,
        took_ms=answer.took // timedelta(milliseconds=1),
        answer=text,
        at=now,
        attempt=parcel.attempt,
    )


def _names(parcel: Parcel) -> dict[str, object]:
    return {
        "server_id": parcel.server_id,
        "endpoint_id": parcel.endpoint_id,
        "parcel": parcel.id,
        "attempt": parcel.attempt,
    }


def _counts(parcel: Parcel, sent: Sequence[_Sent], left: Sequence[str]) -> dict[str, object]:
    delivered = sum(each.delivered for each in sent)
    tried = sum(each.answer is not None for each in sent)
    took = max((each.answer.took for each in sent if each.answer), default=timedelta(0))
    return {
        "delivered": delivered,
        "failed": tried - delivered,
        "unsent": len(parcel.notices) - tried,
        "given_up": len(parcel.notices) - delivered - len(left),
        "took_ms": took // timedelta(milliseconds=1),
    }
