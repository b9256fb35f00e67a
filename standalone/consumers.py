"""The consumers part: runs the functions that AWS would run, with the events that AWS would send.

| loop | every | gives |
| --- | --- | --- |
| events | as they come, gathered for a tenth of a second, 100 at most | ``functions.events`` |
| webhooks | as they come, ten at most, up to ``WEBHOOK_RUNS`` runs at once | ``functions.webhooks`` |
| inbound | the same, up to ``INBOUND_RUNS`` | ``functions.inbound`` |
| minute | minute of the clock (divided by the time factor, never below 0.2 s), and at start | ``functions.scheduled`` |
| prune | five minutes | expired rows to oblivion |

A function runs in a thread; what it did not do comes back when its visibility
ends, as with SQS.  Webhooks wait for other people's machines, so several runs of
theirs stand side by side, as Lambda would do it.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from shared.domain.errors import StorageUnavailable
from shared.ports import Clock, Queue, Received
from shared.telemetry import Meter
from standalone.lambda_events import Handler, LambdaContext, failed_receipts, scheduled_event, sqs_event
from standalone.mail_first import MailFirst
from standalone.parts import Context
from standalone.wiring import build_consumers

log = logging.getLogger(__name__)

Prune: TypeAlias = Callable[[datetime], Awaitable[int]]

LONG_POLL = timedelta(seconds=20)
VISIBILITY = timedelta(seconds=30)
HEARTBEAT_S = 10.0
PER_RECEIVE = 10
MAX_BATCH = 100
"""Records in one run of a function (an SQS event source takes up to 10,000 with a batching window)."""

WINDOW_S = 0.1
"""How long a batch is gathered: one run for many events costs less than many runs."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
"""Waits after a run that failed as a whole, doubled each time."""

COUNTED_AFTER_S = 0.1
WEBHOOK_RUNS = 64
"""More than one dead endpoint can hold (``shared.flow.lanes``)."""

INBOUND_RUNS = 16

MINUTE_S = 60.0
SHORTEST_TICK_S = 0.2
PRUNE_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class Function:
    """A function as this part runs it."""

    name: str
    handler: Handler


async def run(context: Context) -> None:
    """Run all loops until asked to end; a batch that was begun is finished."""
    made = build_consumers(context.settings)
    runner = Runner(context.stop, meter=context.meter, clock=made.clock)
    # One thread for each run that may stand at the same time, and some for the stores.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(WEBHOOK_RUNS + INBOUND_RUNS + 8, "function"))
    tick_s = max(SHORTEST_TICK_S, MINUTE_S / context.settings.time_factor)
    context.ready()
    async with asyncio.TaskGroup() as loops:
        loops.create_task(runner.consume("events", made.events_queue, Function("events", made.events_handler)))
        webhooks = Function("webhooks", made.webhooks_handler)
        loops.create_task(runner.consume_many("webhooks", made.webhooks_queue, webhooks, most=WEBHOOK_RUNS))
        inbound = Function("inbound", made.inbound_handler)
        loops.create_task(runner.consume_many("inbound", made.inbound_queue, inbound, most=INBOUND_RUNS))
        loops.create_task(runner.tick(Function("scheduled", made.scheduled_handler), every_s=tick_s))
        loops.create_task(runner.prune(made.prune, every_s=PRUNE_EVERY_S))
    made.close()


class Runner:
    """Runs functions until the part has to end."""

    def __init__(self, stop: asyncio.Event, *, meter: Meter, clock: Clock) -> None:
        self._stop = stop
        self._meter = meter
        self._clock = clock
        self._mail = MailFirst()

    # --- Queues

    async def consume(self, name: str, queue: Queue, function: Function) -> None:
        """Give what lies on the queue to the function, batch after batch."""
        pause_s = 0.0
        while not self._stop.is_set():
            try:
                batch = await self._gather(queue)
                self._mail.note(len(batch))
                done = await self._give(name, queue, function, batch) if batch else True
            except StorageUnavailable:
                log.exception("queue_unavailable", extra={"queue": name})
                done = False
            pause_s = 0.0 if done else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, pause_s * 2))
            if pause_s:
                await self._wait(pause_s)

    async def consume_many(self, name: str, queue: Queue, function: Function, *, most: int) -> None:
        """Give what lies on the queue to the function at once, in up to ``most`` runs side by side.

        While much mail flows it rests between the runs (``standalone.mail_first``).
        """
        running: set[asyncio.Task[bool]] = set()
        while not self._stop.is_set():
            try:
                batch = await self._receive(queue)
            except StorageUnavailable:
                log.exception("queue_unavailable", extra={"queue": name})
                await self._wait(FIRST_PAUSE_S)
                continue
            if batch:
                running.add(asyncio.create_task(self._give_or_log(name, queue, function, batch)))
            running = {each for each in running if not each.done()}
            if len(running) >= most:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if running and self._mail.much:
                # Only what has run can be counted; one that waits for somebody uses nothing.
                await asyncio.wait(running, timeout=COUNTED_AFTER_S)
            await self._wait(self._mail.rest_s())
        await asyncio.gather(*running)

    async def _give_or_log(self, name: str, queue: Queue, function: Function, batch: Sequence[Received]) -> bool:
        try:
            return await self._give(name, queue, function, batch)
        except StorageUnavailable:
            log.exception("queue_unavailable", extra={"queue": name})
            return False

    async def _receive(self, queue: Queue) -> Sequence[Received]:
        """Wait for messages, but not longer than the part may live."""
        receiving = asyncio.ensure_future(queue.receive(PER_RECEIVE, wait=LONG_POLL, visibility=VISIBILITY))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((receiving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not receiving.done():
            # What it may have taken comes back when its visibility ends.
            receiving.cancel()
            return ()
        return receiving.result()

    async def _gather(self, queue: Queue) -> Sequence[Received]:
        """Wait for a message, then gather what else comes within the window."""
        batch = [*await self._receive(queue)]
        if not batch:
            return ()
        if len(batch) < PER_RECEIVE:
            await self._wait(WINDOW_S)
        while len(batch) < MAX_BATCH:
            more = await queue.receive(PER_RECEIVE, wait=timedelta(0), visibility=VISIBILITY)
            batch += more
            if len(more) < PER_RECEIVE:
                break
        return batch

    async def _give(self, name: str, queue: Queue, function: Function, batch: Sequence[Received]) -> bool:
        """Run the function with the batch and delete what it did; False if it did nothing of it."""
        event = sqs_event(name, batch, received_at=self._clock())
        running = asyncio.ensure_future(self._run(function, event))
        while not (await asyncio.wait((running,), timeout=HEARTBEAT_S))[0]:
            try:
                await queue.extend([each.receipt for each in batch], VISIBILITY)
            except StorageUnavailable:
                # The function goes on, so its batch must be waited for all the same.
                log.warning("heartbeat_failed", exc_info=True)
        ran, answer = running.result()
        failed = failed_receipts(answer, batch) if ran else {each.receipt for each in batch}
        done = [each.receipt for each in batch if each.receipt not in failed]
        await queue.delete(done)
        for result, number in (("done", len(done)), ("failed", len(failed))):
            if number:
                self._meter.count("edgepost_function_records_total", number, function=function.name, result=result)
        return bool(done)

    # --- The clock

    async def tick(self, function: Function, *, every_s: float) -> None:
        """Run the function now and at each full interval of the clock, never twice at once."""
        while not self._stop.is_set():
            now = self._clock()
            await self._run(function, scheduled_event(function.name, at=now, event_id=uuid.uuid4()))
            await self._wait(every_s - self._clock().timestamp() % every_s)

    async def prune(self, prune: Prune, *, every_s: float) -> None:
        """Remove what has expired, now and then."""
        while not self._stop.is_set():
            try:
                removed = await prune(self._clock())
                if removed:
                    log.info("expired_removed", extra={"items": removed})
            except StorageUnavailable:
                log.exception("prune_failed")
            await self._wait(every_s)

    # --- Both

    async def _run(self, function: Function, event: dict[str, Any]) -> tuple[bool, Any]:
        """Run the function once, in a thread; return whether it ended well, and its answer."""
        context = LambdaContext(function.name, str(uuid.uuid4()))
        began = time.perf_counter()
        try:
            answer = await asyncio.to_thread(function.handler, event, context)
        except Exception:
            # The worker loop of standalone: what went wrong stays on the queue, or comes again in a minute.
            log.exception("function_failed", extra={"function": function.name})
            self._note(function, "failed", began)
            return False, None
        self._note(function, "done", began)
        return True, answer

    def _note(self, function: Function, result: str, began: float) -> None:
        self._meter.count("edgepost_function_runs_total", function=function.name, result=result)
        self._meter.observe("edgepost_function_seconds", time.perf_counter() - began, function=function.name)

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than the part may live."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
