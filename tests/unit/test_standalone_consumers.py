"""The consumers part: functions get what AWS would send, and what they did not do comes again."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.domain.errors import StorageUnavailable
from shared.ports import Outgoing, Received
from shared.telemetry import NullMeter
from standalone import consumers
from standalone.consumers import MAX_BATCH, Function, Runner
from standalone.lambda_events import Handler, LambdaContext, failed_receipts, scheduled_event, sqs_event
from tests.fakes.eventually import eventually
from tests.fakes.queue import FakeQueue

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT_S = 20.0


def clock() -> datetime:
    """It is always noon."""
    return NOW


def received(receipt: str, body: str = "{}") -> Received:
    """Return a message as a queue gives it."""
    return Received(body, receipt, 2, NOW - timedelta(seconds=1))


class TestSQSEvent:
    def test_is_what_aws_sends(self) -> None:
        """The same handlers run on Lambda: what they read must be where it is there."""
        event = sqs_event("events", [received("r1", '{"a": 1}')], received_at=NOW)

        assert event == {
            "Records": [
                {
                    "messageId": "r1",
                    "receiptHandle": "r1",
                    "body": '{"a": 1}',
                    "attributes": {
                        "ApproximateReceiveCount": "2",
                        "SentTimestamp": "1772366399000",
                        "SenderId": "000000000000",
                        "ApproximateFirstReceiveTimestamp": "1772366400000",
                    },
                    "messageAttributes": {},
                    "md5OfBody": "42b7b4f2921788ea14dac5566e6f06d0",
                    "eventSource": "aws:sqs",
                    "eventSourceARN": "arn:aws:sqs:local:000000000000:events",
                    "awsRegion": "local",
                }
            ]
        }


class TestScheduledEvent:
    def test_is_what_eventbridge_sends(self) -> None:
        """The moment is in UTC, to the second."""
        event = scheduled_event("scheduled", at=NOW, event_id=UUID(int=1))

        assert (event["time"], event["source"], event["detail-type"]) == (
            "2026-03-01T12:00:00Z",
            "aws.events",
            "Scheduled Event",
        )


class TestFailedReceipts:
    @pytest.mark.parametrize(
        ("answer", "failed"),
        [
            (None, set()),
            ({}, set()),
            ({"batchItemFailures": []}, set()),
            ({"batchItemFailures": None}, set()),
            ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
            ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
            ({"batchItemFailures": [{"itemIdentifier": "stranger"}, {"itemIdentifier": "b"}]}, {"a", "b"}),
            ({"batchItemFailures": [{}]}, {"a", "b"}),
        ],
    )
    def test_reads_the_answer_as_lambda_does(self, answer: dict[str, Any] | None, failed: set[str]) -> None:
        """An answer that makes no sense must not delete what nobody did."""
        assert failed_receipts(answer, [received("a"), received("b")]) == failed


class Calls:
    """A function that remembers what it was given."""

    def __init__(self, stop_after: int, stop: Callable[[], object], answers: Sequence[Any] = ()) -> None:
        self.events: list[Any] = []
        self.contexts: list[LambdaContext] = []
        self.threads: set[str] = set()
        self._stop_after = stop_after
        self._stop = stop
        self._answers = [*answers]
        self._loop = asyncio.get_running_loop()

    def __call__(self, event: Any, context: LambdaContext) -> Any:
        """Answer as told; an exception is raised."""
        self.events.append(event)
        self.contexts.append(context)
        self.threads.add(threading.current_thread().name)
        if len(self.events) >= self._stop_after:
            self._loop.call_soon_threadsafe(self._stop)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer(event) if callable(answer) else answer


@pytest.fixture
def stop() -> asyncio.Event:
    """Return the part's end."""
    return asyncio.Event()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the waits."""
    monkeypatch.setattr(consumers, "WINDOW_S", 0.0)
    monkeypatch.setattr(consumers, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(consumers, "LONGEST_PAUSE_S", 0.0)


async def consume(stop: asyncio.Event, queue: FakeQueue, handler: Handler) -> None:
    """Run the loop until the function stopped it."""
    async with asyncio.timeout(LIMIT_S):
        await Runner(stop, meter=NullMeter(), clock=clock).consume("events", queue, Function("events", handler))


@pytest.mark.usefixtures("quick")
class TestConsume:
    async def test_deletes_what_was_done(self, stop: asyncio.Event) -> None:
        """A message that stays would be done again and again."""
        queue, calls = FakeQueue(clock), Calls(1, stop.set)
        await queue.send([Outgoing("one"), Outgoing("two")])

        await consume(stop, queue, calls)

        assert sorted(record["body"] for record in calls.events[0]["Records"]) == ["one", "two"]
        depth = await queue.depth()
        assert (depth.ready, depth.in_flight) == (0, 0)

    async def test_gathers_many_events_for_one_run(self, stop: asyncio.Event) -> None:
        """A thousand events a second are ten runs, not a thousand."""
        queue, calls = FakeQueue(clock), Calls(2, stop.set)
        await queue.send([Outgoing(str(number)) for number in range(MAX_BATCH + 5)])

        await consume(stop, queue, calls)

        assert [len(event["Records"]) for event in calls.events] == [MAX_BATCH, 5]

    async def test_keeps_what_failed(self, stop: asyncio.Event) -> None:
        """The failed item comes back when its visibility ends; the others are done with."""
        queue = FakeQueue(clock)
        await queue.send([Outgoing("good"), Outgoing("bad")])

        def first_fails(event: Any) -> Any:
            bad = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
            return {"batchItemFailures": [{"itemIdentifier": each} for each in bad]}

        await consume(stop, queue, Calls(1, stop.set, [first_fails]))

        depth = await queue.depth()
        assert (depth.ready, depth.in_flight) == (0, 1)

    async def test_keeps_everything_when_the_function_crashed(self, stop: asyncio.Event) -> None:
        """Not knowing what was done means that nothing was."""
        queue = FakeQueue(clock)
        await queue.send([Outgoing("one"), Outgoing("two")])

        await consume(stop, queue, Calls(1, stop.set, [RuntimeError("as the test wants")]))

        assert (await queue.depth()).in_flight == 2

    async def test_goes_on_when_the_store_is_back(self, stop: asyncio.Event) -> None:
        """A full disk stops the loop for a while, not for good."""
        queue, calls = FlakyQueue(clock), Calls(1, stop.set)
        await queue.send([Outgoing("one")])

        await consume(stop, queue, calls)

        assert len(calls.events) == 1

    async def test_runs_beside_the_event_loop(self, stop: asyncio.Event) -> None:
        """A handler is synchronous and may take its time."""
        queue, calls = FakeQueue(clock), Calls(1, stop.set)
        await queue.send([Outgoing("one")])

        await consume(stop, queue, calls)

        assert threading.current_thread().name not in calls.threads

    async def test_stops_although_nothing_comes(self, stop: asyncio.Event) -> None:
        """A long poll must not hold up the end of the part."""
        stop.set()

        await consume(stop, FakeQueue(clock), Calls(1, stop.set))

    async def test_slow_batch_stays_hidden(self, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise a second loop would do at the same time what the first is doing."""
        monkeypatch.setattr(consumers, "HEARTBEAT_S", 0.001)
        queue, release = ExtendedQueue(clock), threading.Event()
        queue.extended = release.set
        await queue.send([Outgoing("one")])

        await consume(stop, queue, Calls(1, stop.set, [lambda _: release.wait(LIMIT_S) and None]))

        assert release.is_set()

    async def test_a_batch_is_waited_for_though_it_could_not_be_hidden(
        self, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A function that still runs must not get the next batch beside this one."""
        monkeypatch.setattr(consumers, "HEARTBEAT_S", 0.001)
        queue, release = ExtendedQueue(clock), threading.Event()

        def fails() -> None:
            release.set()
            raise StorageUnavailable("away")

        queue.extended = fails
        await queue.send([Outgoing("one")])

        await consume(stop, queue, Calls(1, stop.set, [lambda _: release.wait(LIMIT_S) and None]))

        assert (await queue.depth()).in_flight == 0


class FlakyQueue(FakeQueue):
    """Fails at first."""

    failures = 2

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Sequence[Received]:
        """Fail twice, then work."""
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("the disk is full")
        return await super().receive(limit, wait=wait, visibility=visibility)


class ExtendedQueue(FakeQueue):
    """Tells when a visibility is extended."""

    extended: Callable[[], None]

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Tell it."""
        await super().extend(receipts, visibility)
        self.extended()


class TestConsumeMany:
    async def test_a_run_that_hangs_holds_up_no_other(self, stop: asyncio.Event) -> None:
        """Webhooks wait for strangers' machines; the part ends only when what it began is done."""
        queue, hung, released, seen = FakeQueue(clock), threading.Event(), threading.Event(), list[str]()

        def handler(event: dict[str, Any], _: LambdaContext) -> dict[str, Any]:
            bodies = [record["body"] for record in event["Records"]]
            if "hangs" in bodies:
                hung.set()
                released.wait(LIMIT_S)
            seen.extend(bodies)
            return {"batchItemFailures": []}

        runner = Runner(stop, meter=NullMeter(), clock=clock)
        async with asyncio.timeout(LIMIT_S):
            consuming = asyncio.create_task(
                runner.consume_many("webhooks", queue, Function("webhooks", handler), most=4)
            )
            await queue.send([Outgoing("hangs")])
            await eventually(hung.is_set)
            for number in range(5):
                await queue.send([Outgoing(str(number))])
                await eventually(lambda: str(number) in seen)  # noqa: B023 - asked before the next round
            stop.set()
            released.set()
            await consuming

        assert sorted(seen) == ["0", "1", "2", "3", "4", "hangs"]
        assert (await queue.depth()).in_flight == 0


class TestTick:
    async def test_runs_at_start_and_goes_on_after_a_failure(self, stop: asyncio.Event) -> None:
        """What became due while nothing ran is due now, and one bad minute is not the last."""
        calls = Calls(2, stop.set, [RuntimeError("as the test wants")])
        runner = Runner(stop, meter=NullMeter(), clock=lambda: datetime.now(UTC))

        async with asyncio.timeout(LIMIT_S):
            await runner.tick(Function("scheduled", calls), every_s=0.01)

        assert len(calls.events) == 2
        assert calls.contexts[0].function_name == "scheduled"


class TestPrune:
    async def test_goes_on_when_the_store_is_back(self, stop: asyncio.Event) -> None:
        """What is not removed today is removed later."""
        asked: list[datetime] = []

        async def prune(now: datetime) -> int:
            asked.append(now)
            if len(asked) == 1:
                raise StorageUnavailable("the disk is full")
            stop.set()
            return 3

        async with asyncio.timeout(LIMIT_S):
            await Runner(stop, meter=NullMeter(), clock=clock).prune(prune, every_s=0.01)

        assert asked == [NOW, NOW]
