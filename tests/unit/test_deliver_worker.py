"""The worker: turns, claims, settling and deleting, with a sender that does as it is told."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from shared.domain.errors import StorageUnavailable
from shared.domain.message import Evidence, Status
from shared.domain.outcome import Outcome, Sent, SoftFail
from shared.domain.tenancy import Mode
from shared.flow.hold import held
from shared.ports import Outgoing
from shared.settings import Settings, SourceAddress
from shared.store.domains import Domains
from shared.store.servers import Servers
from shared.tokens import Named
from smtp_node.authentication.keys import SigningKeys
from smtp_node.deliver.attempt import Attempts
from smtp_node.deliver.destinations import DEAD_AFTER, START_SLOTS, Crowded, Dead, Destinations, Slot
from smtp_node.deliver.jobs import Jobs
from smtp_node.deliver.send import Plan
from smtp_node.deliver.worker import Worker
from smtp_node.scan.scanning import Scanning
from tests.fakes.eventually import eventually
from tests.fakes.installation import Installation, install


@dataclass(slots=True)
class ScriptedSender:
    """A sender that records plans and answers what it was given."""

    answer: Callable[[Plan], Outcome] = lambda _plan: Sent("ok", "250 ok", Evidence(smtp_code=250))
    plans: list[Plan] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def send(self, plan: Plan, *, still_ours: Callable[[], bool]) -> Outcome:
        """Answer as told, once the gate is open."""
        assert still_ours()
        self.plans.append(plan)
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(plan)

    async def close(self) -> None:
        """There is nothing to close."""


def worker_of(
    here: Installation,
    sender: ScriptedSender,
    *,
    most: int = 500,
    per_domain: int = 20,
    scanning: Scanning | None = None,
) -> Worker:
    """Return a worker that uses the sender."""
    attempts = Attempts(
        settling=here.settling,
        directory=here.directory,
        keys=SigningKeys(here.stores.keyring),
        tokens=here.tokens,
        sender=sender,  # type: ignore[arg-type]
        clock=here.clock,
        rng=random.Random(3),
        sources=(),
        smart_hosts={},
        scanning=scanning or Scanning(),
    )
    destinations = Destinations(per_domain, most // 2, monotonic=lambda: 0.0)
    return Worker({"default": here.work}, Jobs(attempts, destinations), most)


async def work_until(worker: Worker, done: Callable[[], bool], *, drain: timedelta = timedelta(seconds=5)) -> None:
    """Run the worker until the condition holds, then stop it."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop, drain=drain))
    await eventually(done)
    stop.set()
    await running


class TestWorker:
    async def test_delivers_and_deletes(self) -> None:
        """The whole way of one letter on the deliver side."""
        here = await install()
        message = await here.accept_one()
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: bool(sender.plans))

        [plan] = sender.plans
        local_part, _, domain = plan.mail_from.partition("@")
        assert (plan.rcpt_to, domain) == ("user@dest.test", "rp.localhost")
        assert (await here.tokens.tokens()).read_return_path(local_part) == Named(here.server.id, message.id)
        assert f"X-Edgepost-Report: {local_part}\r\n".encode() in plan.added
        assert plan.added.startswith(b"DKIM-Signature: ")
        assert f"X-Postal-MsgID: {message.token}\r\n".encode() in plan.added
        assert b"Received: from api (unknown [192.0.2.7])" in plan.added
        assert (await here.message(message.id)).status is Status.SENT
        depth = await here.work.depth()
        assert (depth.ready, depth.delayed, depth.in_flight) == (0, 0, 0)

    async def test_bounces_come_back_under_the_domains_own_name_where_it_leads_to_us(self) -> None:
        """RFC 7489 §3.1.2: then SPF counts for DMARC."""
        here = await install()
        await Domains(here.records).mark_return_path(here.domain, own=True)
        await here.accept_one()
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: bool(sender.plans))

        assert sender.plans[0].mail_from.endswith("@psrp.example.test")

    async def test_privacy_mode_tells_nothing_of_the_client(self) -> None:
        """Some installations must not give away their users' addresses."""
        here = await install()
        await Servers(here.records).change(here.server, privacy_mode=True)
        await here.accept()
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: bool(sender.plans))

        assert b"192.0.2.7" not in sender.plans[0].added

    async def test_development_mode_holds_until_released(self) -> None:
        """Nothing leaves a development server unless somebody says so."""
        here = await install()
        await Servers(here.records).change(here.server, mode=Mode.DEVELOPMENT)
        message = await here.accept_one()
        sender = ScriptedSender()
        worker = worker_of(here, sender)

        await work_until(worker, lambda: here.events.sent > 0)

        assert sender.plans == []
        assert [each.id for each in (await held(here.server, using=here.settling)).messages] == [message.id]

    async def test_a_missing_body_fails_visibly(self) -> None:
        """Nothing can be sent any more, and everybody can see why."""
        here = await install()
        message = await here.accept_one()
        await here.bodies.delete(message.body_key)

        await work_until(worker_of(here, ScriptedSender()), lambda: here.events.sent > 0)

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        assert (found[0].status, found[1][0].details) == (
            Status.HARD_FAIL,
            "Raw message has been removed. Cannot send message.",
        )

    async def test_one_crash_stops_nobody_else(self) -> None:
        """A message that breaks the code stays for later; the others go out."""
        here = await install()
        await here.accept("bad@dest.test", "good@dest.test")

        def answer(plan: Plan) -> Outcome:
            if plan.rcpt_to.startswith("bad"):
                raise RecursionError
            return Sent("ok", "250", Evidence(smtp_code=250))

        sender = ScriptedSender(answer)

        await work_until(worker_of(here, sender), lambda: here.events.sent > 0 and len(sender.plans) == 2)

        depth = await here.work.depth()
        assert (depth.ready, depth.in_flight) == (0, 1)

    async def test_an_outcome_outlives_a_storage_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The remote said 250: the node keeps that until it can be written."""
        here = await install()
        message = await here.accept_one()
        failures = iter([True, True, False])
        update = here.records.update

        async def failing(change: object) -> object:
            if "status" in change.set and next(failures):  # type: ignore[attr-defined]
                raise StorageUnavailable("away")
            return await update(change)  # type: ignore[arg-type]

        monkeypatch.setattr(here.records, "update", failing)
        monkeypatch.setattr("smtp_node.deliver.jobs.STORAGE_PAUSES_S", (0.0,))
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: here.events.sent > 0)

        assert len(sender.plans) == 1
        assert (await here.message(message.id)).status is Status.SENT

    async def test_stopping_gives_back_what_has_not_begun(self) -> None:
        """Another node can have it at once; what is on the wire is finished."""
        here = await install()
        await here.accept(*(f"u{n}@dest.test" for n in range(12)))
        gate = asyncio.Event()
        sender = ScriptedSender(gate=gate)
        worker = worker_of(here, sender, per_domain=2)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        await eventually(lambda: len(sender.plans) == START_SLOTS and len(worker._in_hand) == 12)

        stop.set()
        await asyncio.sleep(0.01)
        gate.set()
        await running

        depth = await here.work.depth()
        assert (depth.ready, depth.in_flight) == (12 - len(sender.plans), 0)

    async def test_greylisting_is_answered_from_the_same_address(self) -> None:
        """The remote remembers the address; the next attempt prefers it."""
        here = await install(Settings(time_factor=1.0))
        await here.accept()
        grey = SoftFail("later", "450 greylisted", Evidence(smtp_code=450, source_address="192.0.2.9"))

        await work_until(worker_of(here, ScriptedSender(lambda _: grey)), lambda: here.events.sent > 0)

        here.clock.advance(timedelta(minutes=6))
        [(job, _)] = await here.take_jobs()
        assert job.prefer_ip == "192.0.2.9"

    async def test_a_job_for_another_nodes_address_is_passed_on_once(self) -> None:
        """No message waits for a host that no longer exists."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        await here.work.delete([received.receipt])
        await here.work.send([Outgoing(replace(job, prefer_ip="192.0.2.99").to_json(), group="1")])
        sender = ScriptedSender()
        worker = worker_of(here, sender)
        own = (SourceAddress("192.0.2.1", "mail.example.test"),)
        worker.jobs = replace(worker.jobs, attempts=replace(worker.jobs.attempts, sources=own))

        sent_before = here.work.sent
        await work_until(worker, lambda: here.work.sent > sent_before)
        assert sender.plans == []
        here.clock.advance(timedelta(seconds=6))
        await work_until(worker, lambda: bool(sender.plans))


class TestDestinations:
    async def test_slots_grow_with_success_and_shrink_with_failure(self) -> None:
        """A destination earns its connections."""
        there = Destinations(8, 250, monotonic=lambda: 0.0)
        for _ in range(START_SLOTS):
            assert isinstance(await there.enter("d"), Slot)
        waiting = asyncio.create_task(there.enter("d"))
        await asyncio.sleep(0)
        assert not waiting.done()

        there.leave("d", reached=True)

        assert isinstance(await waiting, Slot)
        assert isinstance(await there.enter("d"), Slot)

    async def test_a_dead_destination_fails_its_line_without_connecting(self) -> None:
        """10,000 messages to a dead host must not each wait for a connect timeout."""
        now = 0.0
        there = Destinations(8, 250, monotonic=lambda: now)
        for _ in range(START_SLOTS):
            await there.enter("d")
        waiting = asyncio.create_task(there.enter("d"))
        await asyncio.sleep(0)

        for _ in range(DEAD_AFTER):
            there.leave("d", reached=False, reason="refused")
        for _ in range(START_SLOTS - DEAD_AFTER):
            there.leave("d", reached=False, reason="refused")

        assert await waiting == Dead("refused")
        assert await there.enter("d") == Dead("refused")
        now = 1000.0
        assert isinstance(await there.enter("d"), Slot)

    async def test_a_long_line_sends_away(self) -> None:
        """One slow destination must not fill the node."""
        there = Destinations(1, 250, monotonic=lambda: 0.0)
        tasks = [asyncio.create_task(there.enter("d")) for _ in range(200)]
        await asyncio.sleep(0)

        turns = [task.result() for task in tasks if task.done()]

        assert sum(isinstance(turn, Crowded) for turn in turns) > 100
        assert isinstance(await there.enter("other"), Slot)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_who_leaves_the_line_takes_no_slot_along(self) -> None:
        """A cancelled wait must not lose a slot for ever."""
        there = Destinations(1, 250, monotonic=lambda: 0.0)
        for _ in range(START_SLOTS):
            await there.enter("d")
        waiting = asyncio.create_task(there.enter("d"))
        await asyncio.sleep(0)
        for _ in range(START_SLOTS):
            there.leave("d", reached=True)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert isinstance(await there.enter("d"), Slot)
