"""The adapters with a proxy between them and the emulator, which can disturb and count what they ask."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest

from shared.adapters.aws.bodies import DynamoDBAndS3Bodies
from shared.adapters.aws.calls import Calls
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.dynamodb_records import DynamoDBRecords
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.sqs_queue import SQSQueue, Windows
from shared.adapters.aws.threads import Threads
from tests.aws.emulator import Emulator
from tests.aws.proxy import Proxy, proxy
from tests.aws.resources import BODIES, BUCKET, RECORDS, Resources
from tests.aws.sdk import adapters
from tests.fakes.clock import FakeClock

SHORT = Patience(
    connect=timedelta(seconds=2),
    read=timedelta(seconds=0.5),
    read_poll=timedelta(seconds=2),
    read_body=timedelta(seconds=0.5),
    pauses=(timedelta(milliseconds=5), timedelta(milliseconds=10)),
)
"""A call that hangs is given up soon; the emulator answers in a few milliseconds."""


@dataclass(frozen=True)
class Line:
    """What leads to the emulator; made once for each process of tests."""

    emulator: Emulator
    between: Proxy
    direct: Resources
    """Past the proxy."""

    environment: Mapping[str, str]
    """In which the SDK goes through the proxy."""

    clients: Clients
    threads: Threads


@dataclass(frozen=True)
class Cloud:
    """An emptied emulator, adapters that reach it through the proxy, and a way past it."""

    between: Proxy
    direct: Resources
    records: DynamoDBRecords
    bodies: DynamoDBAndS3Bodies
    queue: SQSQueue
    clock: FakeClock
    advance: Callable[[timedelta], None]
    clients: Clients
    threads: Threads


@pytest.fixture(scope="session")
def line(ministack: Emulator) -> Iterator[Line]:
    """Give clients that go through a proxy."""
    with proxy(ministack.endpoint) as between:
        environment = {**ministack.environment, "AWS_ENDPOINT_URL": between.endpoint}
        with adapters(environment, caller="test", patience=SHORT) as (clients, threads):
            yield Line(ministack, between, Resources(ministack.environment), environment, clients, threads)


@pytest.fixture
def cloud(line: Line) -> Iterator[Cloud]:
    """Give everything empty and undisturbed."""
    line.between.forget()
    line.emulator.reset()
    line.direct.queues.clear()
    line.direct.make_storage()
    clock = FakeClock(line.emulator.now().replace(microsecond=0))
    calls = Calls(line.threads, SHORT, random.Random(1))
    dynamodb = DynamoDB(line.clients, calls)

    def advance(span: timedelta) -> None:
        clock.advance(span)
        line.emulator.advance(span)

    yield Cloud(
        line.between,
        line.direct,
        DynamoDBRecords(dynamodb, RECORDS, clock),
        DynamoDBAndS3Bodies(dynamodb, line.clients, table=BODIES, bucket=BUCKET, clock=clock),
        SQSQueue(line.clients, calls, line.direct.make_queue("work"), windows=Windows()),
        clock,
        advance,
        line.clients,
        line.threads,
    )
    line.between.forget()
