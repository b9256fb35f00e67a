"""Back-pressure: a node whose storage is away takes nothing, loses nothing, and goes on at once when it is back."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import StorageUnavailable
from shared.domain.message import Status
from shared.flow.claim import LEASE
from shared.ports import Received
from smtp_node.deliver import jobs, storage_health
from smtp_node.deliver.jobs import FIRST_INTERRUPTED_WAIT
from smtp_node.deliver.storage_health import UNWELL_AFTER, StorageHealth
from smtp_node.deliver.worker import Worker
from tests.fakes.eventually import eventually
from tests.fakes.installation import Installation, install
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of


class Outage:
    """Makes records or bodies of an installation unavailable, and counts what is asked of them and the queue."""

    def __init__(self, here: Installation, *names: str) -> None:
        self.on = True
        self.asked = 0
        self.received = 0
        for name in names:
            store, _, method = name.partition(".")
            self._guard(getattr(here, store), method)
        self._count(here)

    def _guard(self, store: Any, method: str) -> None:
        real = getattr(store, method)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.on:
                raise StorageUnavailable("away")
            return await real(*args, **kwargs)

        setattr(store, method, guarded)

    def _count(self, here: Installation) -> None:
        receive = here.work.receive

        async def counted(*args: Any, **kwargs: Any) -> Sequence[Received]:
            await asyncio.sleep(0)  # as from a network
            taken = await receive(*args, **kwargs)
            await asyncio.sleep(0)
            self.received += len(taken)
            return taken

        here.work.receive = counted  # type: ignore[method-assign]


RECORDS = ("records.get", "records.put", "records.update", "records.get_many")


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let probes follow each other without waiting."""
    monkeypatch.setattr(storage_health, "PROBE_PAUSES_S", (0.0,))


async def start(worker: Worker) -> tuple[asyncio.Event, asyncio.Task[None]]:
    """Run the worker; set the event to stop it."""
    stop = asyncio.Event()
    return stop, asyncio.create_task(worker.run(stop))


class TestWorker:
    @pytest.mark.parametrize("away", [RECORDS, ("bodies.get",)])
    async def test_takes_nothing_while_storage_is_away_and_goes_on_at_once(
        self, away: Sequence[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Receiving what cannot be claimed only wears jobs out, until they are dead letters."""
        quick(monkeypatch)
        here = await install()
        for number in range(5):
            await here.accept(*(f"u{n}@d{number}.test" for n in range(10)))
        outage = Outage(here, *away)
        sender = ScriptedSender()
        worker = worker_of(here, sender)

        stop, running = await start(worker)
        await eventually(lambda: not worker.jobs.storage.well and outage.asked > 50)
        taken = outage.received
        await eventually(lambda: outage.asked > 150)
        # Three receives may be under way before the first jobs have failed.
        assert outage.received == taken <= 30

        outage.on = False
        await eventually(lambda: len(sender.plans) == 50 - taken)
        here.clock.advance(LEASE)
        if away is RECORDS:
            await eventually(lambda: len(sender.plans) == 50)
        stop.set()
        await running

        assert here.work.dead_letters == []

    async def test_one_throttled_server_does_not_stop_the_others(self) -> None:
        """Failures between successes are a hot partition's, not the storage's."""
        here = await install()
        messages = [await here.accept_one(f"u{n}@d{n}.test") for n in range(12)]
        update = here.records.update
        throttled = f"{messages[0].id:016d}"

        async def failing(change: Any) -> Any:
            if change.key.sort == throttled:
                raise StorageUnavailable("throttled")
            return await update(change)

        here.records.update = failing  # type: ignore[method-assign]
        sender = ScriptedSender()
        worker = worker_of(here, sender)

        await work_until(worker, lambda: here.events.sent == 11)

        assert worker.jobs.storage.well

    async def test_an_interrupted_job_comes_back_soon_then_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody has it, so nobody's lease must be waited for; a job that fails each time slows down."""
        monkeypatch.setattr(jobs, "SUSPECTS_SPREAD_S", 0.0)
        here = await install()
        message = await here.accept_one()
        outage = Outage(here, "records.update")
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: outage.received == 1)
        here.clock.advance(FIRST_INTERRUPTED_WAIT)
        await work_until(worker_of(here, sender), lambda: outage.received == 2)
        here.clock.advance(FIRST_INTERRUPTED_WAIT)
        assert await here.take_jobs() == []
        here.clock.advance(FIRST_INTERRUPTED_WAIT)
        outage.on = False
        await work_until(worker_of(here, sender), lambda: here.events.sent == 1)

        assert (await here.message(message.id)).status is Status.SENT

    async def test_stopping_does_not_wait_for_the_storage(self) -> None:
        """A deploy during an outage is a deploy like any other."""
        here = await install()
        await here.accept(*(f"u{n}@dest.test" for n in range(10)))
        Outage(here, *RECORDS)
        worker = worker_of(here, ScriptedSender())
        stop, running = await start(worker)
        await eventually(lambda: not worker.jobs.storage.well)

        stop.set()
        await asyncio.wait_for(running, 5)


class TestStorageHealth:
    async def test_is_unwell_after_failures_in_a_row(self) -> None:
        """A success in between is a sign of life."""
        health = StorageHealth()
        for _ in range(UNWELL_AFTER - 1):
            health.failed()
        health.worked()
        health.failed()
        assert health.well
        for _ in range(UNWELL_AFTER):
            health.failed()
        assert not health.well

    async def test_a_probe_that_succeeds_proves_little(self) -> None:
        """A store may read and not claim: the pauses grow on until a job has worked."""
        pauses: list[float] = []

        async def noting(seconds: float) -> None:
            pauses.append(seconds)

        async def probe() -> None:
            """Find the storage well."""

        health = StorageHealth(noting)
        for _ in range(4):
            for _ in range(UNWELL_AFTER):
                health.failed()
            await health.until_well(probe)
        health.worked()
        for _ in range(UNWELL_AFTER):
            health.failed()
        await health.until_well(probe)

        assert pauses == [0.2, 0.5, 1.0, 1.0, 0.2]

    async def test_one_of_many_waiters_probes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A node with many pools must not load a sick store more than a node with one."""
        quick(monkeypatch)
        health, probes, fails = StorageHealth(), 0, 4
        for _ in range(UNWELL_AFTER):
            health.failed()

        async def probe() -> None:
            nonlocal probes
            probes += 1
            await asyncio.sleep(0)
            if probes <= fails:
                raise StorageUnavailable("away")

        await asyncio.gather(*(health.until_well(probe) for _ in range(10)))

        assert probes == fails + 1
        assert health.well

    async def test_does_not_wait_when_well(self) -> None:
        """The usual case costs nothing."""

        async def probe() -> None:
            raise AssertionError("nobody asked")

        await asyncio.wait_for(StorageHealth().until_well(probe), timedelta(seconds=1).total_seconds())
