"""The backends that every contract test runs on.

A backend is a function that opens it and gives a ``World``; add one to
``BACKENDS`` and the whole suite runs on it too.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Bodies, Queue, Records
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
    """Lets time pass; a backend with a clock of its own waits instead."""

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


BACKENDS = {"fake": fake_world, "sqlite": sqlite_world}


@pytest.fixture(params=BACKENDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Give each backend in turn."""
    with BACKENDS[request.param](tmp_path) as opened:
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
