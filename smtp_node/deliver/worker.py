"""The delivery worker: takes jobs from the queues of its pools and makes the attempts.

For each job: a turn at the destination, the claim, the attempt, settling, and
only then the job is deleted.  One heartbeat for all jobs in hand keeps their
leases and their visibility alive, also through the ten minutes after a final dot.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.job import Job, ToMX
from shared.domain.outcome import HardFail, Outcome, SoftFail
from shared.flow.claim import LEASE, Claimed, Dropped, Later, Settled, claim
from shared.flow.settle import complete, settle
from shared.ports import Outgoing, Queue, Received
from smtp_node.deliver.attempt import Attempts
from smtp_node.deliver.destinations import Crowded, Dead, Destinations

log = logging.getLogger(__name__)

BATCH = 10
LONG_POLL = timedelta(seconds=20)
HEARTBEAT_S = 10.0
BUSY = 100
"""Jobs in hand above which new ones are taken slowly: most of them wait in lines."""

BUSY_PAUSE_S = 0.1
RECORD_PAUSES_S = (0.005, 0.02, 0.1, 0.5)
"""Waits for a record whose accept is just finishing."""

CROWDED_WAIT = timedelta(seconds=1)
LONGEST_CROWDED_WAIT = timedelta(seconds=60)
HAND_BACK_WAIT = timedelta(seconds=5)
STORAGE_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
POISON = "Given up: the nodes that worked on this message stopped before they could finish."


@dataclass(slots=True)
class InHand:
    """A job this node works on, and how long its claim holds."""

    pool: str
    queue: Queue
    receipt: str
    started: bool = False
    """Whether it may have been claimed; before that it can simply be given back."""

    claimed: Claimed | None = None
    lease_ends: float = 0.0
    """On the monotonic clock."""

    lost: bool = False

    def still_ours(self) -> bool:
        """Whether nobody else can have claimed the message by now."""
        return not self.lost and time.monotonic() < self.lease_ends


@dataclass(slots=True)
class Worker:
    """Works until it is told to stop.

    Args:
        queues: the work queues of this node's pools.
        attempts: makes attempts and knows the stores.
        destinations: the turns.
        most: jobs in hand at once.
    """

    queues: Mapping[str, Queue]
    attempts: Attempts
    destinations: Destinations
    most: int
    _in_hand: dict[asyncio.Task[None], InHand] = field(default_factory=dict)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event, *, drain: timedelta = timedelta(seconds=25)) -> None:
        """Work until ``stop`` is set; then finish what is in hand, for at most ``drain``.

        What is not finished by then is abandoned: its lease ends by itself and
        another node takes it.
        """
        heartbeat = asyncio.create_task(self._keep_alive())
        takers = [asyncio.create_task(self._take(pool, queue)) for pool, queue in self.queues.items()]
        try:
            await stop.wait()
        finally:
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)
            await self._give_back_unstarted()
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=drain.total_seconds())
            await _cancel(list(self._in_hand))
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)
            await self.attempts.sender.close()

    async def _give_back_unstarted(self) -> None:
        """Let another node have at once what this one has not begun."""
        waiting = {task: hand for task, hand in self._in_hand.items() if not hand.started}
        await _cancel(list(waiting))
        for queue in self.queues.values():
            receipts = [hand.receipt for hand in waiting.values() if hand.queue is queue]
            try:
                await queue.extend(receipts, timedelta(0))
            except Unavailable:
                log.warning("give_back_failed", exc_info=True)

    async def _take(self, pool: str, queue: Queue) -> None:
        """Take jobs as long as there is room, one queue each."""
        failures = 0
        while True:
            await self._room()
            limit = min(BATCH, self.most - len(self._in_hand))
            try:
                received = await queue.receive(limit, wait=LONG_POLL, visibility=LEASE)
                failures = 0
            except Unavailable:
                log.warning("queue_receive_failed", exc_info=True)
                await asyncio.sleep(STORAGE_PAUSES_S[min(failures, len(STORAGE_PAUSES_S) - 1)])
                failures += 1
                continue
            for each in received:
                hand = InHand(pool, queue, each.receipt)
                task = asyncio.create_task(self._work(each, hand))
                self._in_hand[task] = hand
                task.add_done_callback(self._finished)

    async def _room(self) -> None:
        if len(self._in_hand) >= BUSY:
            self._freed.clear()
            try:
                async with asyncio.timeout(BUSY_PAUSE_S):
                    while len(self._in_hand) >= BUSY:
                        await self._freed.wait()
                        self._freed.clear()
            except TimeoutError:
                pass
        while len(self._in_hand) >= self.most:
            self._freed.clear()
            await self._freed.wait()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_hand.pop(task, None)
        self._freed.set()

    async def _work(self, received: Received, hand: InHand) -> None:
        try:
            await self._one(received, hand)
        except Unavailable:
            # The lease ends by itself and the job comes back: nothing is lost.
            log.warning("job_interrupted", exc_info=True)
        except InvalidValue:
            log.exception("job_unreadable")  # stays on the queue until it is a dead letter
        except Exception:  # the worker loop: one bad message must not stop the others
            log.exception("attempt_crashed")

    async def _one(self, received: Received, hand: InHand) -> None:
        job = Job.from_json(received.body)
        if self._is_for_another_node(job):
            await self._put_back(hand, received, replace(job, handed_back=True), HAND_BACK_WAIT)
            return
        name = self.attempts.destination(job, hand.pool)
        turn = await self.destinations.enter(name)
        if isinstance(turn, Crowded):
            wait = min(CROWDED_WAIT * 2**job.parked, LONGEST_CROWDED_WAIT) * (0.5 + self.attempts.rng.random())
            await self._put_back(hand, received, replace(job, parked=min(job.parked + 1, 16)), wait)
            return
        if isinstance(turn, Dead):
            await self._attempt(job, received, hand, failed=SoftFail(turn.reason))
            return
        outcome: Outcome | None = None
        try:
            outcome = await self._attempt(job, received, hand)
        finally:
            reached, reason = _reach(outcome)
            self.destinations.leave(name, reached=reached, reason=reason)

    def _is_for_another_node(self, job: Job) -> bool:
        own = [address for address, _ in self.attempts.sources]
        return bool(job.prefer_ip and own and job.prefer_ip not in own and not job.handed_back)

    async def _put_back(self, hand: InHand, received: Received, job: Job, wait: timedelta) -> None:
        wait = wait / self.attempts.settling.settings.time_factor
        await hand.queue.send([Outgoing(job.to_json(), group=str(job.server_id), delay=wait)])
        await hand.queue.delete([received.receipt])

    async def _attempt(
        self, job: Job, received: Received, hand: InHand, *, failed: SoftFail | None = None
    ) -> Outcome | None:
        """Claim, attempt, settle and delete; return the outcome, or None if it was not our turn."""
        hand.started = True
        claimed = await self._claim(job, received, hand)
        if claimed is None:
            return None
        hand.claimed = claimed
        started = time.monotonic()
        if claimed.poison:
            outcome: Outcome = HardFail(POISON)
        else:
            outcome = failed or await self.attempts.make(claimed, job, pool=hand.pool, still_ours=hand.still_ours)
        took = timedelta(seconds=time.monotonic() - started)
        if not await self._settle(claimed, outcome, took, hand):
            log.warning("claim_lost", extra={"message_id": job.message_id, "server_id": job.server_id})
            return outcome
        due = claimed.message.next_attempt_at or received.sent_at
        waited = self.attempts.clock() - took - due
        log.info("attempt_settled", extra=_fields(job, outcome, took=took, waited=waited))
        await hand.queue.delete([received.receipt])
        return outcome

    async def _claim(self, job: Job, received: Received, hand: InHand) -> Claimed | None:
        for pause in (*RECORD_PAUSES_S, None):
            hand.lease_ends = time.monotonic() + LEASE.total_seconds()
            found = await claim(
                job,
                sent_at=received.sent_at,
                directory=self.attempts.directory,
                messages=self.attempts.settling.messages,
                now=self.attempts.clock(),
            )
            if not (isinstance(found, Later) and found.missing) or pause is None:
                break
            await asyncio.sleep(pause)
        match found:
            case Claimed():
                return found
            case Later(wait):
                await hand.queue.extend([received.receipt], wait)
            case Dropped():
                log.warning("job_dropped", extra={"message_id": job.message_id, "server_id": job.server_id})
                await hand.queue.delete([received.receipt])
            case Settled(tenant, message):
                history = await self.attempts.settling.messages.with_deliveries(tenant.server, message.id)
                rows = [row for row in history[1] if row.attempt == job.attempt] if history else []
                await complete(tenant, message, rows, using=self.attempts.settling, now=self.attempts.clock())
                await hand.queue.delete([received.receipt])
        return None

    async def _settle(self, claimed: Claimed, outcome: Outcome, took: timedelta, hand: InHand) -> bool:
        """Write the outcome, however long the storage is away, as long as the claim is ours."""
        settling = self.attempts.settling
        prefer_ip = _greylisted_from(outcome)
        failures = 0
        while True:
            try:
                return await settle(
                    claimed, outcome, took=took, prefer_ip=prefer_ip, using=settling, now=self.attempts.clock()
                )
            except Unavailable:
                log.warning("settle_failed", exc_info=True, extra={"message_id": claimed.message.id})
                if hand.lost:
                    return False
                await asyncio.sleep(STORAGE_PAUSES_S[min(failures, len(STORAGE_PAUSES_S) - 1)])
                failures += 1

    async def _keep_alive(self) -> None:
        """Every ten seconds, keep all jobs in hand hidden and all claims ours."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            hands = list(self._in_hand.values())
            for queue in self.queues.values():
                receipts = [hand.receipt for hand in hands if hand.queue is queue]
                try:
                    await queue.extend(receipts, LEASE)
                except Unavailable:
                    log.warning("heartbeat_failed", exc_info=True)
            await asyncio.gather(*(self._extend(hand) for hand in hands if hand.claimed and not hand.lost))

    async def _extend(self, hand: InHand) -> None:
        claimed = hand.claimed
        if claimed is None:
            return
        ends = time.monotonic() + LEASE.total_seconds()
        try:
            until = self.attempts.clock() + LEASE
            kept = await self.attempts.settling.messages.extend_lease(claimed.tenant.server, claimed.message, until)
        except Unavailable:
            log.warning("heartbeat_failed", exc_info=True, extra={"message_id": claimed.message.id})
            return
        if kept:
            hand.lease_ends = ends
        else:
            hand.lost = True


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _reach(outcome: Outcome | None) -> tuple[bool, str]:
    """Return whether the destination was reached, and if not, what to tell the others."""
    if isinstance(outcome, SoftFail) and outcome.evidence.smtp_code in (0, 421):
        return False, outcome.details
    return True, ""


def _greylisted_from(outcome: Outcome) -> str:
    """Return the source address that a host asked to come again; greylisting knows it by that."""
    if isinstance(outcome, SoftFail) and outcome.evidence.smtp_code in (450, 451):
        return outcome.evidence.source_address
    return ""


def _fields(job: Job, outcome: Outcome, *, took: timedelta, waited: timedelta) -> dict[str, object]:
    evidence = getattr(outcome, "evidence", None)
    return {
        "message_id": job.message_id,
        "server_id": job.server_id,
        "attempt": job.attempt,
        "outcome": type(outcome).__name__,
        "smtp_code": evidence.smtp_code if evidence else 0,
        "mx": evidence.mx if evidence else "",
        "destination": job.target.domain if isinstance(job.target, ToMX) else job.target.name,
        "took_ms": took // timedelta(milliseconds=1),
        "waited_ms": max(0, waited // timedelta(milliseconds=1)),
    }
