"""The workload whose cost is metered: a 10 KB letter to one recipient, accepted, delivered and recorded.

The real handlers of the functions and the real worker of a node, on the AWS adapters and an
emulator; the recipient's host is a sink with STARTTLS.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cost_letter import send_request
from metering import Meter, sqs_requests
from tests.aws.emulator import Emulator
from tests.aws.resources import Resources
from tests.fakes.dns_server import FakeDNS
from tests.fakes.mx import SinkMX

API_MEMORY_MB, EVENTS_MEMORY_MB, WEBHOOKS_MEMORY_MB = 1024, 512, 512
"""As template.yaml has them."""

LOG_LINE_BYTES = 26
"""What CloudWatch adds to each event."""


class CountedLog(io.TextIOBase):
    """Standard output of the functions, as far as Lambda would send it to CloudWatch."""

    bytes = 0

    def write(self, text: str) -> int:
        """Count the text."""
        if '"logger":"smtp_node' in text:
            return len(text)  # a node's lines go to its own log
        self.bytes += len(text.encode()) + LOG_LINE_BYTES * text.count("\n")
        return len(text)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A rate, and how many letters the windows of batching see at it."""

    rate: int
    """Letters a second."""

    letters: int
    at_once: int
    """Messages whose ends fall in one of a node's windows: what it sends and deletes together."""

    received: int
    """Jobs that one receive of a node brings."""

    batch: int
    """Events of one run of the events function."""

    parcels: int
    """Parcels of one run of the webhooks function."""

    pace_s: float = 0.0
    """Time between two groups, in which caches grow old."""


@dataclass
class Context:
    """What Lambda tells a handler of its run."""

    function_name: str
    memory_limit_in_mb: int
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def invoked_function_arn(self) -> str:
        """Return a name in the form of AWS's."""
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"


class Held:
    """A work queue from which a worker takes only when enough lies on it: what a node finds there at a rate."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._left = 0
        self.at_most = 10
        self._more = asyncio.Event()

    def offer(self, count: int) -> None:
        """Let so many jobs be taken."""
        self._left += count
        self._more.set()

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Any:
        """Take what is offered."""
        while not self._left:
            self._more.clear()
            await self._more.wait()
        taken = await self._queue.receive(min(limit, self.at_most), wait=wait, visibility=visibility)
        self._left -= len(taken)
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


@dataclass
class Workload:
    """An installation on an emulator, metered."""

    meter: Meter
    key: str
    worker: Any
    queue: Held
    settings: Any
    stores: Any
    admin: Resources
    logs: CountedLog
    functions: Mapping[str, Any]
    mx: SinkMX
    threads: Mapping[str, ThreadPoolExecutor] = field(
        default_factory=lambda: {
            name: ThreadPoolExecutor(1, initializer=_own_loop)
            for name in ("api", "events", "scheduled", "webhooks", "pixel", "redirect")
        }
    )
    """One for each function, as each has a process of its own in Lambda."""

    delivered: list[tuple[int, int]] = field(default_factory=list)
    """Servers and ids of messages whose delivery was recorded."""

    async def go(self, scenario: Scenario) -> None:
        """Accept, deliver and record so many letters, in the groups that windows see at the scenario's rate."""
        done = 0
        self.queue.at_most = scenario.received
        while done < scenario.letters:
            began = time.monotonic()
            group = min(scenario.at_once, scenario.letters - done)
            await self.accept(group)
            await self.deliver(group)
            if scenario.batch == 1:
                await self.record(1)
            done += group
            await asyncio.sleep(max(0.0, began + scenario.pace_s - time.monotonic()))
        await self.record(scenario.batch)

    async def minute(self) -> None:
        """Run the function of every minute once."""
        await self.run("scheduled", EVENTS_MEMORY_MB, {"source": "aws.events"})

    async def accept(self, count: int) -> None:
        """Send so many letters through the function's URL, one request each."""
        for _ in range(count):
            answer = await self.run("api", API_MEMORY_MB, send_request(self.key))
            if json.loads(answer["body"]).get("status") != "success":
                raise RuntimeError(f"the API answered {answer}")

    async def deliver(self, count: int) -> None:
        """Let the node find all that was accepted at once, and wait until it has delivered it."""
        wanted = len(self.mx.transactions) + count
        self.queue.offer(count)
        while len(self.mx.transactions) < wanted or self.worker._hands():  # noqa: ASYNC110, SLF001  # nothing tells
            await asyncio.sleep(0.005)

    async def record(self, batch: int) -> int:
        """Give the events function what lies on its queue, so many at a time; return how many there were."""
        events = await self._consume("events", EVENTS_MEMORY_MB, batch)
        told = [json.loads(each) for each in events]
        self.delivered += [(each["server"], each["message"]) for each in told if each["kind"] == "delivered"]
        return len(events)

    async def notify(self, batch: int) -> int:
        """Give the webhooks function the parcels on its queue, so many at a time; return how many there were."""
        return len(await self._consume("webhooks", WEBHOOKS_MEMORY_MB, batch))

    async def _consume(self, name: str, memory_mb: int, batch: int) -> Sequence[str]:
        """Do what Lambda does for a queue: poll, ten at a time, run the function, delete; return the bodies."""
        records = await asyncio.to_thread(self._take, self.admin.queues[name])
        for start in range(0, len(records), batch):
            some = records[start : start + batch]
            answer = await self.run(name, memory_mb, {"Records": some})
            if answer["batchItemFailures"]:
                raise RuntimeError(f"{len(answer['batchItemFailures'])} of {len(some)} failed in {name}")
            for first in range(0, len(some), 10):
                got = {"Messages": [{"Body": each["body"]} for each in some[first : first + 10]]}
                self.meter.add(name, "sqs_request", "ReceiveMessage (by Lambda)", sqs_requests({}, got))
                self.meter.add(name, "sqs_request", "DeleteMessageBatch (by Lambda)")
        return [each["body"] for each in records]

    def _take(self, url: str) -> Sequence[Mapping[str, Any]]:
        sqs, taken = self.admin.client("sqs"), []
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            taken += [
                {
                    "messageId": each["MessageId"],
                    "receiptHandle": each["ReceiptHandle"],
                    "body": each["Body"],
                    "attributes": {},
                    "eventSource": "aws:sqs",
                }
                for each in got
            ]
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(got)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return taken

    async def run(self, name: str, memory_mb: int, event: Mapping[str, Any]) -> Any:
        """Run a function once, and count its time."""
        began = time.perf_counter()
        run, context = self.functions[name], Context(f"edgepost-{name}", memory_mb)
        answer = await asyncio.get_running_loop().run_in_executor(self.threads[name], run, event, context)
        seconds = time.perf_counter() - began
        self.meter.add(name, "lambda_request", "invocations")
        self.meter.add(name, "lambda_gb_second", f"{memory_mb} MB", seconds * memory_mb / 1024)
        return answer


@contextlib.asynccontextmanager
async def workload(emulator: Emulator, directory: Path) -> AsyncIterator[Workload]:
    """Give an installation on the emulator with one server, a node and the functions."""
    admin = Resources(emulator.environment)
    admin.make_storage()
    names = admin.settings()
    sink = SinkMX(tls=True, extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 52428800"))
    async with (
        sink as mx,
        FakeDNS({"dest.test": {"MX": [(10, "mx.dest.test")]}, "mx.dest.test": {"A": ["127.0.0.1"]}}) as dns,
    ):
        settings = {f"EDGEPOST_{name.upper()}": value for name, value in names.items()} | {
            "EDGEPOST_DATA_DIR": str(directory),
            "EDGEPOST_DNS_SERVERS": f"{dns.address[0]}:{dns.address[1]}",
            "EDGEPOST_DELIVERY_PORT": str(mx.port),
            "EDGEPOST_ALLOW_NETWORKS": "127.0.0.0/8",
        }
        with _environment(emulator.environment | settings):
            from shared.adapters.aws.session import _session
            from shared.adapters.opening import close_stores

            meter = Meter(lambda table, key: admin.client("dynamodb").get_item(TableName=table, Key=key).get("Item"))
            meter.attach(_session())
            try:
                async with _open(meter, admin, mx) as made:
                    yield made
            finally:
                close_stores()


@contextlib.asynccontextmanager
async def _open(meter: Meter, admin: Resources, mx: SinkMX) -> AsyncIterator[Workload]:
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import found_installation, open_stores
    from shared.flow.initialize import initialize
    from shared.settings import Settings
    from smtp_node.deliver.wiring import build_worker

    settings = Settings.from_env(os.environ)
    await asyncio.to_thread(found_installation, settings, caller="cli")
    stores = open_stores(settings, caller="cli")
    first = await initialize(
        records=stores.records,
        keyring=stores.keyring,
        settings=settings,
        file=_NoFile(),
        rng=random.SystemRandom(),
        now=utc_now(),
    )
    worker = build_worker(settings)  # made outside of Lambda, where calls wait for others to share them
    logs = CountedLog()
    with contextlib.redirect_stdout(logs), _environment({"AWS_LAMBDA_FUNCTION_NAME": "edgepost"}):
        from functions.api import entry as api
        from functions.edge.aws import AWS
        from functions.events import entry as events
        from functions.pixel import handler as pixel
        from functions.redirect import handler as redirect
        from functions.scheduled import entry as scheduled
        from functions.webhooks import entry as webhooks

        meter.attach_edge(AWS)

        queue = Held(worker.queues["default"])
        worker.queues = {"default": queue}
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        entries = {"api": api, "events": events, "scheduled": scheduled, "webhooks": webhooks}
        entries |= {"pixel": pixel, "redirect": redirect}
        functions = {name: module.handler for name, module in entries.items()}
        key = first.secrets.api_key if first.secrets else ""
        try:
            yield Workload(meter, key, worker, queue, settings, stores, admin, logs, functions, mx)
        finally:
            stop.set()
            await running


def _own_loop() -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())


class _NoFile:
    def read(self) -> None:
        """Nothing was written before."""

    def write(self, content: str) -> None:
        """Nobody reads it."""


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
