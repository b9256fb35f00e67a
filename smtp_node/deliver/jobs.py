"""What becomes of one job: its turn, the claim, the attempt, settling, and only then it is deleted."""

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.inspection import Ruling
from shared.domain.job import Job, Target, ToHost, ToInbound, ToMX
from shared.domain.outcome import HardFail, Outcome, Sent, SoftFail
from shared.flow.claim import LEASE, Claimed, Dropped, Later, Settled, claim
from shared.flow.settle import complete, settle
from shared.ports import MAX_DELAY, Outgoing, Received
from smtp_node.deliver.attempt import BODY_UNREADABLE, OWN_FAULT, Attempted, Attempts
from smtp_node.deliver.destinations import Crowded, Dead, Destinations
from smtp_node.deliver.heartbeat import InHand, relied_on_until
from smtp_node.deliver.storage_health import StorageHealth

log = logging.getLogger(__name__)

RECORD_PAUSES_S = (0.005, 0.02, 0.1, 0.5)
"""Waits for a record whose accept is just finishing."""

SUSPECT_AFTER = 2
SUSPECTS_SPREAD_S = 10.0
"""Jobs received so often may be what kills nodes: spread, so that the others of a crash are settled before the next."""

RENEW_AFTER = 25
"""Receives after which a job that only waits is sent anew: fifty would make a dead letter of it."""

HAND_BACK_WAIT = timedelta(seconds=5)
STORAGE_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Growing waits while the storage is away."""

FIRST_INTERRUPTED_WAIT = timedelta(seconds=1)
"""Before a job that could not be claimed for want of storage comes back; doubled each time, up to the lease."""

POISON = "Given up: the nodes that worked on this message stopped before they could finish."


@dataclass(frozen=True, slots=True)
class Jobs:
    """Works on jobs, one call each, any number at once.

    Args:
        attempts: makes attempts and knows the stores.
        destinations: the turns.
        storage: what jobs find of it.
    """

    attempts: Attempts
    destinations: Destinations
    storage: StorageHealth = field(default_factory=StorageHealth)

    async def work(self, received: Received, hand: InHand) -> None:
        """Do what the job asks for; whatever happens, the others go on."""
        try:
            await self._work(Job.from_json(received.body), received, hand)
        except Unavailable:
            # The lease ends by itself and the job comes back: nothing is lost.
            log.warning("job_interrupted", exc_info=True)
            self.storage.failed()
            await self._come_back(hand, received)
        except InvalidValue:
            log.exception("job_unreadable")  # stays on the queue until it is a dead letter
        except Exception:  # the worker loop: one bad message must not stop the others
            log.exception("attempt_crashed")

    async def _work(self, job: Job, received: Received, hand: InHand) -> None:
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
        made: _Made | None = None
        if isinstance(turn, Dead):
            made = await self._attempt(job, received, hand, failed=SoftFail(turn.reason))
        else:
            try:
                made = await self._attempt(job, received, hand)
            finally:
                # Writing the outcome down needs no connection: the next one may begin.
                reached, reason = _reach(made.outcome if made else None)
                self.destinations.leave(name, reached=reached, reason=reason)
        if made is not None:
            await self._end(job, received, made, hand)

    def _is_for_another_node(self, job: Job) -> bool:
        own = [address for address, _ in self.attempts.sources]
        return bool(job.prefer_ip and own and job.prefer_ip not in own and not job.handed_back)

    async def _put_back(self, hand: InHand, received: Received, body: str, wait: timedelta) -> None:
        group = str(Job.from_json(body).server_id)
        await hand.queue.send([Outgoing(body, group=group, delay=min(wait, MAX_DELAY))])
        await hand.queue.delete([received.receipt])

    async def _come_back(self, hand: InHand, received: Received) -> None:
        """Let a job that was interrupted be received again, sooner if it is nobody's yet."""
        if hand.claimed is None and received.receives < RENEW_AFTER:
            wait = min(LEASE, FIRST_INTERRUPTED_WAIT * 2 ** (received.receives - 1))
            try:
                await hand.queue.extend([received.receipt], wait)
            except Unavailable:
                log.warning("come_back_failed", exc_info=True)
        await self._renew(hand, received, LEASE)

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
    ) -> "_Made | None":
        """Claim the message and make the attempt; None if it was not our turn."""
        hand.started = True
        claimed = await self._claim(job, received, hand)
        if claimed is None:
            return None
        hand.claimed = claimed
        started = time.monotonic()
        if claimed.poison:
            attempted = Attempted(HardFail(POISON))
        elif failed is not None:
            attempted = Attempted(failed)
            self.storage.worked()
        else:
            attempted = await self.attempts.make(claimed, job, pool=hand.pool, still_ours=hand.still_ours)
            outcome = attempted.outcome
            if isinstance(outcome, SoftFail) and outcome.details == BODY_UNREADABLE:
                self.storage.failed()
            else:
                self.storage.worked()
        return _Made(claimed, attempted.outcome, timedelta(seconds=time.monotonic() - started), attempted.ruling)

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
        if isinstance(found, Claimed):
            return found
        self.storage.worked()
        match found:
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

    async def _end(self, job: Job, received: Received, made: "_Made", hand: InHand) -> None:
        """Settle the attempt and delete the job."""
        if not await self._settle(made, hand):
            log.warning("claim_lost", extra={"message_id": job.message_id, "server_id": job.server_id})
            return
        due = made.claimed.message.next_attempt_at or received.sent_at
        waited = self.attempts.clock() - made.took - due
        log.info("attempt_settled", extra=_fields(job, made, waited))
        await hand.queue.delete([received.receipt])

    async def _settle(self, made: "_Made", hand: InHand) -> bool:
        """Write the outcome, however long the storage is away, as long as the claim is ours."""
        failures = 0
        while True:
            try:
                return await settle(
                    made.claimed,
                    made.outcome,
                    took=made.took,
                    prefer_ip=_greylisted_from(made.outcome),
                    ruling=made.ruling,
                    using=self.attempts.settling,
                    now=self.attempts.clock(),
                )
            except Unavailable:
                log.warning("settle_failed", exc_info=True, extra={"message_id": made.claimed.message.id})
                self.storage.failed()
                if hand.lost:
                    return False
                await asyncio.sleep(STORAGE_PAUSES_S[min(failures, len(STORAGE_PAUSES_S) - 1)])
                failures += 1


@dataclass(frozen=True, slots=True)
class _Made:
    """An attempt that was made and is not written down yet."""

    claimed: Claimed
    outcome: Outcome
    took: timedelta
    ruling: Ruling | None


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


def _fields(job: Job, made: _Made, waited: timedelta) -> dict[str, object]:
    evidence = getattr(made.outcome, "evidence", None)
    return {
        "message_id": job.message_id,
        "server_id": job.server_id,
        "attempt": job.attempt,
        "direction": made.claimed.message.direction.value,
        "outcome": type(made.outcome).__name__,
        "smtp_code": evidence.smtp_code if evidence else 0,
        "mx": evidence.mx if evidence else "",
        "destination": _name_of(job.target),
        "took_ms": made.took // timedelta(milliseconds=1),
        "waited_ms": max(0, waited // timedelta(milliseconds=1)),
    }


def _name_of(target: Target | ToInbound) -> str:
    match target:
        case ToMX(domain):
            return domain
        case ToHost(name):
            return name
        case ToInbound():
            return ""  # such a job fails before any attempt
