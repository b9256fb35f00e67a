"""The backends that every contract test runs on.

A backend is a function that opens it and gives a ``World``; add one to
``BACKENDS`` and the whole suite runs on it too.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters.aws.bodies import DynamoDBAndS3Bodies
from shared.adapters.aws.calls import Calls
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.dynamodb_records import DynamoDBRecords
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.sqs_queue import SQSQueue, Windows
from shared.adapters.aws.threads import Threads
from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Bodies, Queue, Records
from tests.aws.emulator import Emulator
from tests.aws.resources import BODIES, BUCKET, RECORDS, Resources
from tests.aws.sdk import adapters
from tests.fakes.bodies import FakeBodies
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from tests.fakes.records import FakeRecords

NO_WAIT = timedelta(0)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class World:
    """One backend, freshly opened, and the clock it goes by."""

    records: Records
    bodies: Bodies
    make_queue: Callable[[str, int], Queue]
    """Gives the queue of a name, with its limit of receives."""

    clock: Callable[[], datetime]
    advance: Callable[[timedelta], None]
    """Lets time pass, for the engine behind it too."""

    is_emulated: bool = False
    """Whether the engine only resembles the real one: tests of what it does not do are skipped."""

    def queue(self, name: str = "work", *, max_receives: int = 50) -> Queue:
        """Return the queue of this name."""
        return self.make_queue(name, max_receives)


@contextmanager
def fake_world(_directory: Path) -> Iterator[World]:
    """Open the backend in memory."""
    clock = FakeClock()
    yield World(FakeRecords(clock), FakeBodies(clock), lambda _name, most: FakeQueue(clock, most), clock, clock.advance)


@contextmanager
def sqlite_world(directory: Path) -> Iterator[World]:
    """Open the backend on a new database file."""
    clock = FakeClock()
    store = SQLiteStore(directory / "edgepost.db", durability="normal")
    yield World(
        SQLiteRecords(store, clock),
        SQLiteBodies(store, clock),
        lambda name, most: SQLiteQueue(store, name, clock, max_receives=most),
        clock,
        clock.advance,
    )
    store.close()


@dataclass(frozen=True, slots=True)
class Cloud:
    """An emulator of AWS, and the SDK that talks to it: made once, because each takes its time."""

    emulator: Emulator
    resources: Resources
    clients: Clients
    threads: Threads


@contextmanager
def aws_world(cloud: Cloud) -> Iterator[World]:
    """Open the backend on an emptied emulator, whose clock moves with ours."""
    cloud.emulator.reset()
    cloud.resources.queues.clear()
    cloud.resources.make_storage()
    clock = FakeClock(cloud.emulator.now().replace(microsecond=0))
    calls = Calls(cloud.threads, Patience(), random.Random(1))
    dynamodb = DynamoDB(cloud.clients, calls)

    def queue(name: str, most: int) -> Queue:
        url = cloud.resources.make_queue(name, max_receives=most)
        return SQSQueue(cloud.clients, calls, url, windows=Windows())

    def advance(span: timedelta) -> None:
        clock.advance(span)
        cloud.emulator.advance(span)

    yield World(
        DynamoDBRecords(dynamodb, RECORDS, clock),
        DynamoDBAndS3Bodies(dynamodb, cloud.clients, table=BODIES, bucket=BUCKET, clock=clock),
        queue,
        clock,
        advance,
        is_emulated=True,
    )


BACKENDS = {"fake": fake_world, "sqlite": sqlite_world}


@pytest.fixture(scope="session")
def cloud(ministack: Emulator) -> Iterator[Cloud]:
    """Give the emulator with clients for it."""
    with adapters(ministack.environment, caller="contract") as (clients, threads):
        yield Cloud(ministack, Resources(ministack.environment), clients, threads)


@pytest.fixture(params=[*BACKENDS, "aws"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Give each backend in turn."""
    if request.param == "aws":
        opening = aws_world(request.getfixturevalue("cloud"))
    else:
        opening = BACKENDS[request.param](tmp_path)
    with opening as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock for tests of SQLite alone."""
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """Give a store on a new database file."""
    opened = SQLiteStore(tmp_path / "edgepost.db", durability="normal")
    opened.open()
    yield opened
    opened.close()
