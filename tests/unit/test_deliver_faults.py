"""Faults on the deliver side: storms of crashes, storage that is away, crowds, stopped processes."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import InvalidValue, MalformedMessage, StorageUnavailable
from shared.domain.job import ToMX
from shared.domain.message import Evidence, Status
from shared.domain.outcome import Outcome, Postponed, Sent, SoftFail
from shared.flow.claim import CLOCK_SKEW, LEASE, MAX_CLAIMS
from shared.ports import Outgoing
from shared.settings import Settings
from smtp_node.deliver import jobs
from smtp_node.deliver import worker as worker_module
from smtp_node.deliver.destinations import (
    DEAD_AFTER,
    LONGEST_RETURN_S,
    START_SLOTS,
    Crowded,
    Dead,
    Destinations,
    Slot,
)
from tests.fakes.eventually import eventually
from tests.fakes.installation import install
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step
from tests.fakes.sending import LINE, PLAN, sending
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of


class TestStorageAway:
    async def test_a_body_store_that_is_away_makes_no_poison(self) -> None:
        """Minutes without bodies must not end mail as if it had killed five nodes."""
        here = await install(Settings(first_retry=timedelta(minutes=1)))  # every retry waits on the queue
        message = await here.accept_one()
        body = here.bodies.get

        async def away(_key: str) -> bytes | None:
            raise StorageUnavailable("503 SlowDown")

        here.bodies.get = away  # type: ignore[method-assign]
        for _ in range(MAX_CLAIMS):
            sent = here.events.sent
            await work_until(worker_of(here, ScriptedSender()), lambda sent=sent: here.events.sent > sent)
            due = (await here.message(message.id)).next_attempt_at
            assert due is not None
            here.clock.advance(due - here.clock() + timedelta(seconds=1))
        here.bodies.get = body  # type: ignore[method-assign]
        await work_until(worker_of(here, sender := ScriptedSender()), lambda: bool(sender.plans))

        assert (await here.message(message.id)).status is Status.SENT

    @pytest.mark.parametrize("reason", [StorageUnavailable("away"), InvalidValue("another master key")])
    async def test_our_own_faults_make_no_destination_dead(self, reason: Exception) -> None:
        """One server's broken key must not stop everybody's mail to the same place."""
        here = await install()
        await here.accept(*(f"u{n}@dest.test" for n in range(DEAD_AFTER + 1)))
        worker = worker_of(here, ScriptedSender())

        def broken(_domain: object) -> Any:
            raise reason

        worker.jobs.attempts.keys.of = broken  # type: ignore[method-assign]
        await work_until(worker, lambda: here.events.sent == DEAD_AFTER + 1)

        assert isinstance(await worker.jobs.destinations.enter("dest.test"), Slot)

    async def test_what_cannot_be_signed_fails_with_the_reason(self) -> None:
        """No signature, no sending: and at once, not after five lost leases."""
        here = await install()
        message = await here.accept_one()
        worker = worker_of(here, ScriptedSender())

        def broken(_domain: object) -> Any:
            raise MalformedMessage("a lone LF")

        worker.jobs.attempts.keys.of = broken  # type: ignore[method-assign]
        await work_until(worker, lambda: here.events.sent > 0)

        assert (await here.message(message.id)).status is Status.HARD_FAIL


class TestJobs:
    async def test_a_job_of_a_message_that_got_another_id_misroutes_nothing(self) -> None:
        """Two accepts drew one id in one millisecond: the loser's job names the loser's domain."""
        here = await install()
        message = await here.accept_one("user@right.test")
        [(job, received)] = await here.take_jobs()
        await here.work.delete([received.receipt])
        await here.work.send([Outgoing(replace(job, target=ToMX("wrong.test")).to_json(), group="1")])
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: bool(sender.plans))

        assert sender.plans[0].target == ToMX("right.test")
        assert (await here.message(message.id)).status is Status.SENT

    async def test_a_job_that_waits_for_a_long_lease_never_becomes_a_dead_letter(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A dead letter of a message whose node then dies would leave it Pending for ever."""
        here = await install()
        await here.accept_one()
        [(_, received)] = await here.take_jobs()
        await here.work.extend([received.receipt], timedelta(0))
        claimed = await here.claim_one()
        worker = worker_of(here, ScriptedSender())
        looks = 0
        take = here.work._take

        def counting(limit: int, visibility: timedelta) -> Any:
            nonlocal looks
            taken = take(limit, visibility)
            looks += len(taken)
            return taken

        here.work._take = counting  # type: ignore[method-assign]
        monkeypatch.setattr(jobs, "SUSPECTS_SPREAD_S", 0.0)
        for _ in range(60):
            here.clock.advance(LEASE)
            await here.messages.extend_lease(here.server, claimed.message, here.clock() + LEASE)
            before = looks
            await work_until(worker, lambda before=before: looks > before)
        here.clock.advance(LEASE * 2)

        assert here.work.dead_letters == []
        await work_until(worker, lambda: here.events.sent > 0)

    async def test_the_neighbours_of_poison_are_not_claimed_all_at_once(self) -> None:
        """Whatever is claimed when the node is killed again counts as abandoned once more."""
        here = await install()
        await here.accept(*(f"u{n}@d{n}.test" for n in range(100)))
        for _ in range(jobs.SUSPECT_AFTER):
            for _ in range(10):
                await here.take_jobs()
            here.clock.advance(LEASE + timedelta(seconds=1))
        sender = ScriptedSender(gate=asyncio.Event())
        worker = worker_of(here, sender)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop, drain=timedelta(0)))

        await eventually(lambda: len(worker._in_hand) == 100 and bool(sender.plans))

        assert len(sender.plans) < 50
        stop.set()
        await running


class TestLoops:
    async def test_a_node_whose_heartbeat_died_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Working on without it would mean leases that lapse in the middle of deliveries."""
        here = await install()
        worker = worker_of(here, ScriptedSender())

        async def dies(*_args: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(worker_module, "keep_alive", dies)

        with pytest.raises(RuntimeError):
            await asyncio.wait_for(worker.run(asyncio.Event()), 5)

    async def test_a_node_that_can_take_no_more_jobs_ends(self) -> None:
        """Alive but deaf is worse than dead: nobody would start it again."""
        here = await install()

        async def broken(*_args: object, **_names: object) -> Any:
            raise RuntimeError("a bug")

        here.work.receive = broken  # type: ignore[method-assign]

        with pytest.raises(RuntimeError):
            await asyncio.wait_for(worker_of(here, ScriptedSender()).run(asyncio.Event()), 5)


class TestCrowds:
    async def fill(self, there: Destinations, name: str, jobs: int) -> list[asyncio.Task[object]]:
        """Let so many jobs ask for a turn at once."""
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(there.enter(name)) for _ in range(jobs)]
        await asyncio.sleep(0)
        return tasks

    async def test_many_slow_destinations_leave_room_for_the_others(self) -> None:
        """Lines of all destinations together must not fill the node."""
        there = Destinations(20, 250, monotonic=lambda: 0.0)
        tasks = [task for n in range(10) for task in await self.fill(there, f"d{n}.test", 100)]

        assert sum(not task.done() for task in tasks) == there.waiting == 250
        assert isinstance(await there.enter("fine.test"), Slot)

        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert there.waiting == 0

    async def test_jobs_come_back_one_after_the_other(self) -> None:
        """10,000 that come back together, again and again, would stand in front of everything else."""
        there = Destinations(1, 0, monotonic=lambda: 0.0)
        await self.fill(there, "slow.test", START_SLOTS)

        waits = [turn.wait for turn in [await there.enter("slow.test") for _ in range(10_000)] if type(turn) is Crowded]

        assert waits == sorted(waits)
        assert len([wait for wait in waits if wait < timedelta(seconds=60)]) < 60 / 0.05
        assert waits[-1] == timedelta(seconds=LONGEST_RETURN_S)

    async def test_a_fast_destination_gets_its_jobs_back_fast(self) -> None:
        """Its line must not run dry while thousands wait elsewhere."""
        now = 0.0
        there = Destinations(1, 0, monotonic=lambda: now)
        await self.fill(there, "fast.test", START_SLOTS)
        for _ in range(100):
            now += 0.01
            there.leave("fast.test", reached=True)
            await there.enter("fast.test")

        for _ in range(1000):
            turn = await there.enter("fast.test")

        assert isinstance(turn, Crowded)
        assert turn.wait < timedelta(seconds=12)

    async def test_a_lost_reply_does_not_blame_the_mail_of_others(self) -> None:
        """That it may have been sent is true of that message only."""
        here = await install()
        await here.accept(*(f"u{n}@dest.test" for n in range(DEAD_AFTER + 1)))
        lost = SoftFail("Error; it may have been sent", "gone", maybe_sent=True)
        worker = worker_of(here, ScriptedSender(lambda _: lost))

        await work_until(worker, lambda: here.events.sent == DEAD_AFTER + 1)

        assert not isinstance(await worker.jobs.destinations.enter("dest.test"), Dead)


class TestStillOurs:
    async def test_a_claim_lost_within_the_body_stops_before_the_final_dot(self) -> None:
        """The process was stopped in the middle of a large body and another node has sent it since."""
        ours = True
        raw = PLAN.raw + LINE * 6000

        def still_ours() -> bool:
            return ours

        stopped = asyncio.Event()
        async with SinkMX(body=Step(hold=stopped)) as mx, sending(mx) as sender:
            attempt = asyncio.create_task(sender.send(replace(PLAN, raw=raw), still_ours=still_ours))
            await mx.reached.wait()
            ours = False
            stopped.set()
            outcome: Outcome = await attempt

        assert isinstance(outcome, Postponed)
        assert mx.transactions == []

    async def test_a_claim_is_not_relied_on_to_its_last_second(self) -> None:
        """Another node's clock may be five seconds ahead of ours."""
        here = await install()
        await here.accept_one()
        left: list[float] = []

        def answer(_plan: object) -> Outcome:
            left.extend(hand.lease_ends - time.monotonic() for hand in worker._in_hand.values())
            return Sent("ok", "250", Evidence(smtp_code=250))

        worker = worker_of(here, ScriptedSender(answer))
        await work_until(worker, lambda: here.events.sent > 0)

        assert len(left) == 1
        assert left[0] <= (LEASE - CLOCK_SKEW).total_seconds()
