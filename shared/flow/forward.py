"""Forward: give incoming mail to its HTTP endpoint, or do what its route's mode says.

The inbound function's stage; mail for hosts and addresses is carried by a node.  A
message is claimed, tried and settled as outgoing ones are (``shared.flow.claim``,
``settle``), so its history, retries, holds and release are the same.  The lanes are those
of webhooks:

=====================================  =======================================
what the job finds                     what becomes of it
=====================================  =======================================
lane full                              put off some seconds, no attempt lost
lane paused (breaker open)             the attempt counts as failed, unsent
free claim, same attempt               tried
lease of somebody else, or no record   comes back when its visibility ends
attempt over                           what follows is done again, then dropped
=====================================  =======================================

A kill between an answer and the record sends the mail again, with the same ``webhook-id``.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue, StorageUnavailable, Unavailable
from shared.domain.forwarding import decide, outcome_of
from shared.domain.job import Job, ToInbound
from shared.domain.message import Delivery, Evidence, Message
from shared.domain.outcome import HardFail, Outcome, SoftFail
from shared.domain.routes import HTTPTarget, Route, current_target
from shared.domain.tenancy import Tenant
from shared.flow.claim import LEASE, Claimed, Dropped, Later, Settled, claim
from shared.flow.inbound_request import InboundRequests
from shared.flow.lanes import Lane, Lanes
from shared.flow.queues import group_of
from shared.flow.settle import Settling, complete, settle
from shared.ports import Clock, Outgoing
from shared.store.directory import Directory
from shared.store.routes import Routes

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
LARGE_BYTES = 1_048_576
LARGE_AT_ONCE = 4
"""Mail over ``LARGE_BYTES`` in one process: each is several times in memory while it is written and sent."""

PUT_OFF = timedelta(seconds=2)
RECORD_PAUSES_S = (0.005, 0.02, 0.1, 0.5)
"""Waits for a record that is just being written."""

SETTLE_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between tries to write down an outcome: an answer that is forgotten means that the mail is sent again."""

POISON = "Given up: the processes that worked on this message stopped before they could finish."
PAUSED = "The endpoint has failed several times in a row and is left alone for a while."
BODY_GONE = "Raw message has been removed. Cannot send message."
UNREADABLE = "The stored message could not be read for now."
SECRET_UNUSABLE = "The route's secret could not be opened."  # noqa: S105  # a sentence
NOT_OURS = "The message is for a node, not for the inbound function."


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What forwarding needs; one for each process."""

    settling: Settling
    directory: Directory
    requests: InboundRequests
    lanes: Lanes
    clock: Clock
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))


async def forward(job: Job, *, sent_at: datetime, receives: int, using: Forwarding) -> bool:
    """Work on a job; True if it may be deleted, False if it must come back.

    Args:
        job: as the inbound queue delivered it.
        sent_at: when it was put on the queue.
        receives: how often the queue has delivered it.
        using: what forwarding needs.

    Raises:
        InvalidValue: the job is not for the inbound function.
        StorageUnavailable: it must come back.
    """
    if not isinstance(job.target, ToInbound):
        raise InvalidValue("this job is for a node")
    lane = using.lanes.named(job.target.lane) if job.target.lane else Lane()
    # While one is on trial, the others count as paused: they wait longer each time.
    if lane.paused(using.clock()) or (lane.on_trial and lane.full):
        return await _work(job, lane, sent_at, receives, failed=SoftFail(PAUSED), using=using)
    if not await lane.enter(using.lanes.patience_s):
        delay = PUT_OFF * (0.5 + using.settling.rng.random())
        await using.settling.stores.inbound.send([Outgoing(job.to_json(), group=group_of(job), delay=delay)])
        return True
    try:
        return await _work(job, lane, sent_at, receives, failed=None, using=using)
    finally:
        lane.leave()


async def _work(
    job: Job, lane: Lane, sent_at: datetime, receives: int, *, failed: SoftFail | None, using: Forwarding
) -> bool:
    claimed = await _claim(job, sent_at, receives, using)
    if isinstance(claimed, bool):
        return claimed
    began = time.monotonic()
    keeping = asyncio.create_task(_keep(claimed, using))
    try:
        outcome = HardFail(POISON) if claimed.poison else await _attempt_or_fail(claimed, lane, failed, using)
        took = timedelta(seconds=time.monotonic() - began)
        return await _settle(claimed, outcome, took, using)
    finally:
        keeping.cancel()


async def _claim(job: Job, sent_at: datetime, receives: int, using: Forwarding) -> Claimed | bool:
    """Take the message; else whether the job may be deleted."""
    for pause in (*RECORD_PAUSES_S, None):
        found = await claim(
            job,
            sent_at=sent_at,
            receives=receives,
            directory=using.directory,
            messages=using.settling.messages,
            now=using.clock(),
        )
        if pause is None or not (isinstance(found, Later) and found.soon):
            break
        await asyncio.sleep(pause)
    match found:
        case Claimed():
            return found
        case Later():
            return False
        case Dropped():
            log.warning("inbound_job_dropped", extra={"message_id": job.message_id, "server_id": job.server_id})
            return True
        case Settled(tenant, message):
            rows = await _rows(tenant, message, job.attempt, using)
            await complete(tenant, message, rows, using=using.settling, now=using.clock())
            return True


async def _rows(tenant: Tenant, message: Message, attempt: int, using: Forwarding) -> list[Delivery]:
    history = await using.settling.messages.with_deliveries(tenant.server, message.id)
    return [row for row in history[1] if row.attempt == attempt] if history else []


async def _keep(claimed: Claimed, using: Forwarding) -> None:
    """Keep the claim alive until cancelled."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        try:
            until = using.clock() + LEASE
            await using.settling.messages.extend_lease(claimed.tenant.server, claimed.message, until)
        except Unavailable:
            log.warning("inbound_lease_not_extended", exc_info=True, extra=_names(claimed))


async def _attempt_or_fail(claimed: Claimed, lane: Lane, failed: SoftFail | None, using: Forwarding) -> Outcome:
    """Make the attempt; a storage that does not answer costs one, or five such claims would count as poison."""
    try:
        return await _attempt(claimed, lane, failed, using)
    except StorageUnavailable:
        log.exception("inbound_unreadable", extra=_names(claimed))
        return SoftFail(UNREADABLE, evidence=Evidence(enhanced_code="4.3.0"))


async def _attempt(claimed: Claimed, lane: Lane, failed: SoftFail | None, using: Forwarding) -> Outcome:
    message = claimed.message
    route = await Routes(using.settling.stores.records).of_message(message)
    decided = decide(message, claimed.tenant, route)
    if decided is not None or route is None:
        return decided or HardFail(NOT_OURS)
    target = current_target(route, message.endpoint)
    if not isinstance(target, HTTPTarget):
        return HardFail(NOT_OURS)
    return failed or await _post(message, target, route, lane, using)


async def _post(message: Message, target: HTTPTarget, route: Route, lane: Lane, using: Forwarding) -> Outcome:
    large = using.large if message.size_bytes > LARGE_BYTES else contextlib.nullcontext()
    async with lane.requests, large:
        if lane.paused(using.clock()):
            return SoftFail(PAUSED)
        raw = await using.settling.stores.bodies.get(message.body_key)
        if raw is None:
            return HardFail(BODY_GONE)
        try:
            answer = await using.requests.send(message, raw, target, route, now=using.clock())
        except InvalidValue:
            log.exception("route_secret_unusable", extra={"server_id": message.server_id})
            return SoftFail(SECRET_UNUSABLE, evidence=Evidence(enhanced_code="4.3.0"))
    now = using.clock()
    outcome = outcome_of(answer.status, answer.headers, answer.body, error=answer.error, url=target.url, now=now)
    factor = using.settling.settings.time_factor
    if not isinstance(outcome, SoftFail):
        lane.succeeded(answer.took)
        return outcome
    lane.failed(now, factor)
    if outcome.retry_after is not None:
        lane.wait_until(now + outcome.retry_after / factor)
    return outcome


async def _settle(claimed: Claimed, outcome: Outcome, took: timedelta, using: Forwarding) -> bool:
    """Write the outcome down, trying again while the storage is away; the claim is kept alive meanwhile."""
    for pause in (*SETTLE_PAUSES_S, None):
        try:
            settled = await settle(claimed, outcome, took=took, using=using.settling, now=using.clock())
        except Unavailable:
            if pause is None:
                raise
            log.warning("inbound_settle_failed", exc_info=True, extra=_names(claimed))
            await asyncio.sleep(pause)
            continue
        if settled:
            fields = {"outcome": type(outcome).__name__, "took_ms": took // timedelta(milliseconds=1)}
            log.info("inbound_settled", extra=_names(claimed) | fields)
        return settled
    return False


def _names(claimed: Claimed) -> dict[str, object]:
    message = claimed.message
    direction = message.direction.value
    return {
        "server_id": message.server_id,
        "message_id": message.id,
        "attempt": message.attempt,
        "direction": direction,
    }
