"""The delivery worker: takes jobs from the queues of its pools and makes the attempts.

For each job: a turn at the destination, the claim, the attempt, settling, and
only then the job is deleted.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.job import Job, ToMX
from shared.domain.outcome import HardFail, Outcome, Sent, SoftFail
from shared.flow.claim import LEASE, Claimed, Dropped, Later, Settled, claim
from shared.flow.settle import complete, settle
from shared.ports import MAX_DELAY, Outgoing, Queue, Received
from smtp_node.deliver.attempt import OWN_FAULT, Attempts
from smtp_node.deliver.destinations import Crowded, Dead, Destinations
from smtp_node.deliver.heartbeat import InHand, keep_alive, relied_on_until

log = logging.getLogger(__name__)

BATCH = 10
LONG_POLL = timedelta(seconds=20)
BUSY = 100
"""Jobs waiting in lines above which new ones are taken slowly: most would be sent away again."""

BUSY_PAUSE_S = 0.03
RECORD_PAUSES_S = (0.005, 0.02, 0.1, 0.5)
"""Waits for a record whose accept is just finishing."""

SUSPECT_AFTER = 2
SUSPECTS_SPREAD_S = 10.0
"""Jobs received so often may be what kills nodes: spread, so that the others of a crash are settled before the next."""

RENEW_AFTER = 25
"""Receives after which a job that only waits is sent anew: fifty would make a dead letter of it."""

HAND_BACK_WAIT = timedelta(seconds=5)
STORAGE_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
POISON = "Given up: the nodes that worked on this message stopped before they could finish."


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

        Raises:
            Exception: whatever ended the heartbeat or the taking of jobs; without
                them the node must not go on.
        """
        heartbeat = asyncio.create_task(keep_alive(self._hands, self.queues, self.attempts))
        takers = [asyncio.create_task(self._take(pool, queue)) for pool, queue in self.queues.items()]
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait((stopping, heartbeat, *takers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
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
        for task in ended - {stopping}:
            task.result()

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
        if self.destinations.waiting >= BUSY:
            await asyncio.sleep(BUSY_PAUSE_S)
        while len(self._in_hand) >= self.most:
            self._freed.clear()
            await self._freed.wait()

    def _hands(self) -> Sequence[InHand]:
        return list(self._in_hand.values())

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_hand.pop(task, None)
        self._freed.set()

    async def _work(self, received: Received, hand: InHand) -> None:
        try:
            await self._one(received, hand)
        except Unavailable:
            # The lease ends by itself and the job comes back: nothing is lost.
            log.warning("job_interrupted", exc_info=True)
            await self._renew(hand, received, LEASE)
        except InvalidValue:
            log.exception("job_unreadable")  # stays on the queue until it is a dead letter
        except Exception:  # the worker loop: one bad message must not stop the others
            log.exception("attempt_crashed")

    async def _one(self, received: Received, hand: InHand) -> None:
        job = Job.from_json(received.body)
        if self._is_for_another_node(job):
            wait = HAND_BACK_WAIT / self.attempts.settling.settings.time_factor
            await self._put_back(hand, received, replace(job, handed_back=True).to_json(), wait)
            return
        if received.receives > SUSPECT_AFTER:
            await asyncio.sleep(self.attempts.rng.random() * SUSPECTS_SPREAD_S)
        name = self.attempts.destination(job, hand.pool)
        turn = await self.destinations.enter(name)
        if isinstance(turn, Crowded):
            await self._put_back(hand, received, received.body, turn.wait)
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

    async def _put_back(self, hand: InHand, received: Received, body: str, wait: timedelta) -> None:
        group = str(Job.from_json(body).server_id)
        await hand.queue.send([Outgoing(body, group=group, delay=min(wait, MAX_DELAY))])
        await hand.queue.delete([received.receipt])

    async def _renew(self, hand: InHand, received: Received, wait: timedelta) -> None:
        """Send a job anew before waiting makes a dead letter of it; its message would wait for ever."""
        if received.receives < RENEW_AFTER:
            return
        try:
            await self._put_back(hand, received, received.body, wait)
        except Unavailable:
            log.warning("renewal_failed", exc_info=True)

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
            hand.lease_ends = relied_on_until()
            found = await claim(
                job,
                sent_at=received.sent_at,
                receives=received.receives,
                directory=self.attempts.directory,
                messages=self.attempts.settling.messages,
                now=self.attempts.clock(),
            )
            if not (isinstance(found, Later) and found.soon) or pause is None:
                break
            await asyncio.sleep(pause)
        match found:
            case Claimed():
                return found
            case Later(wait, soon):
                await hand.queue.extend([received.receipt], wait)
                if not soon:
                    await self._renew(hand, received, wait)
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


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _reach(outcome: Outcome | None) -> tuple[bool | None, str]:
    """Return whether the destination was reached (None: not known), and if not, what to tell the others."""
    match outcome:
        case Sent() | SoftFail(maybe_sent=True):
            return True, ""
        case SoftFail(details, evidence=evidence) if evidence.smtp_code in (0, 421):
            # What went wrong on our side must not stop the mail of others to the same place.
            return (None, "") if evidence.enhanced_code == OWN_FAULT and not evidence.smtp_code else (False, details)
        case SoftFail(evidence=evidence) | HardFail(evidence=evidence):
            return (True if evidence.smtp_code else None), ""
    return None, ""


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
