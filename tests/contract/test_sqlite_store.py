"""What the SQLite store promises beyond the ports: recovery, threads, versions."""

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from shared.adapters.embedded.schema import SCHEMA_VERSION
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.domain.errors import StorageUnavailable
from shared.ports import Absent, Key, Outgoing, Put
from tests.contract.conftest import HOUR, NO_WAIT
from tests.fakes.clock import FakeClock

KEY = Key("p", "s")
INSERT = "INSERT INTO records(partition, sort, data) VALUES (?, ?, '{}')"
COUNT = "SELECT count(*) FROM records"


def insert_then_fail(connection: sqlite3.Connection) -> None:
    """Break the rule for operations: write first, then fail."""
    connection.execute(INSERT, ("half", "done"))
    raise LookupError("after the first write")


class TestOpen:
    def test_makes_the_file_for_its_owner_only(self, tmp_path: Path) -> None:
        """The file holds other people's mail."""
        path = tmp_path / "new" / "edgepost.db"

        store = SQLiteStore(path, durability="normal")
        store.open()

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(Path(f"{path}-wal").stat().st_mode) == 0o600
        store.close()

    @pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
    async def test_sets_what_durability_needs(self, tmp_path: Path, durability: str, synchronous: int) -> None:
        """Full durability is an fsync for each commit; without WAL neither would hold."""
        store = SQLiteStore(tmp_path / "edgepost.db", durability=durability)

        pragmas = await store.write(
            lambda connection: [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "page_size", "user_version")
            ]
        )

        assert pragmas == ["wal", synchronous, 8192, SCHEMA_VERSION]
        store.close()

    def test_refuses_a_newer_schema(self, tmp_path: Path) -> None:
        """Going back to an older release must not damage what the newer one wrote."""
        path = tmp_path / "edgepost.db"
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        connection.close()

        with pytest.raises(StorageUnavailable, match=f"version {SCHEMA_VERSION + 1}.*up to {SCHEMA_VERSION}"):
            SQLiteStore(path, durability="normal").open()

    def test_refuses_what_is_no_database(self, tmp_path: Path) -> None:
        """A wrong path is an error that names the file."""
        path = tmp_path / "edgepost.db"
        path.write_bytes(b"not a database" * 100)

        with pytest.raises(StorageUnavailable, match=r"edgepost\.db"):
            SQLiteStore(path, durability="normal").open()

    async def test_what_was_written_is_there_after_reopening(self, tmp_path: Path) -> None:
        """A restart loses nothing."""
        for expected in (True, False):
            store = SQLiteStore(tmp_path / "edgepost.db", durability="normal")
            assert await SQLiteRecords(store, FakeClock()).put(Put(KEY, {}, when=(Absent(),))) is expected
            store.close()

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_fork_may_not_use_it(self, store: SQLiteStore) -> None:
        """SQLite connections and locks do not survive a fork, so it must fail loudly."""
        store.select(COUNT, ())

        child = os.fork()
        if child == 0:
            try:
                store.select(COUNT, ())
            except RuntimeError:
                os._exit(7)
            os._exit(0)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


class TestWrite:
    async def test_many_at_once_all_get_their_own_result(self, store: SQLiteStore) -> None:
        """A group commit must not mix up its operations."""

        def numbered(number: int) -> int:
            return number

        results = await asyncio.gather(
            *(store.write(lambda _connection, number=number: numbered(number)) for number in range(500))
        )

        assert results == list(range(500))

    async def test_serves_several_event_loops(self, store: SQLiteStore) -> None:
        """Each loop gets its results on its own thread."""
        records = SQLiteRecords(store, FakeClock())

        async def put_some(name: str) -> None:
            for number in range(50):
                assert await records.put(Put(Key(name, f"{number:02d}"), {}))

        threads = [threading.Thread(target=asyncio.run, args=(put_some(name),)) for name in "abc"]
        for thread in threads:
            thread.start()
        await put_some("here")
        for thread in threads:
            thread.join()

        assert store.select(COUNT, ()) == [(200,)]

    async def test_a_failing_operation_fails_alone(self, store: SQLiteStore) -> None:
        """One caller's mistake must not cost the others of the group their writes, nor stay half done."""
        good = [store.execute(INSERT, ("good", str(number))) for number in range(3)]
        bad = store.write(insert_then_fail)
        worse = store.write(insert_then_fail)
        good += [store.execute(INSERT, ("good", str(number))) for number in range(3, 6)]

        results = await asyncio.gather(*good, bad, worse, return_exceptions=True)

        assert results[:6] == [1] * 6
        assert [type(result) for result in results[6:]] == [LookupError, LookupError]
        assert store.select("SELECT DISTINCT partition FROM records", ()) == [("good",)]

    async def test_a_broken_constraint_is_the_callers_alone(self, store: SQLiteStore) -> None:
        """SQLite's refusal of one row is no failure of the disk."""
        results = await asyncio.gather(
            store.execute(INSERT, ("a", "1")),
            store.execute(INSERT, ("a", "1")),
            store.execute(INSERT, ("a", "2")),
            return_exceptions=True,
        )

        assert [type(result) for result in results] == [int, StorageUnavailable, int]
        assert isinstance(results[1].__cause__, sqlite3.IntegrityError)

    async def test_recovers_from_a_full_disk(self, store: SQLiteStore) -> None:
        """While the disk is full nothing is acknowledged; afterwards all goes on without a restart."""
        records = SQLiteRecords(store, FakeClock())
        queue = SQLiteQueue(store, "q", FakeClock())
        await records.put(Put(KEY, {"n": 1}))
        pages = store.select("PRAGMA page_count", ())[0][0]
        await store.write(lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 2}").fetchall())

        with pytest.raises(StorageUnavailable) as failure:
            await records.put(Put(Key("big", "1"), {"data": "x" * 100_000}))
        with pytest.raises(StorageUnavailable):
            await queue.send([Outgoing("y" * 100_000)])

        assert isinstance(failure.value.__cause__, sqlite3.OperationalError)
        assert await records.get(KEY) == {"n": 1}
        assert await records.get(Key("big", "1")) is None
        await store.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchall())
        assert await records.put(Put(Key("big", "1"), {"data": "x" * 100_000}))
        await queue.send([Outgoing("z")])
        assert [each.body for each in await queue.receive(10, wait=NO_WAIT, visibility=HOUR)] == ["z"]

    async def test_a_cancelled_operation_that_has_not_begun_never_happens(self, store: SQLiteStore) -> None:
        """A consumer that is stopped must not take messages nobody will handle."""
        entered, release = threading.Event(), threading.Event()

        def block(_connection: sqlite3.Connection) -> None:
            entered.set()
            release.wait(10)

        blocking = store.write(block)
        assert await asyncio.to_thread(entered.wait, 10)
        cancelled = store.execute(INSERT, ("a", "1"))
        cancelled.cancel()
        release.set()
        await blocking
        await store.execute(INSERT, ("a", "2"))

        assert store.select("SELECT sort FROM records", ()) == [("2",)]


class TestRead:
    async def test_sees_what_was_acknowledged(self, store: SQLiteStore) -> None:
        """Reads are consistent with the writes of all stores on the file."""
        other = SQLiteStore(store.path, durability="normal")
        here, there = SQLiteRecords(store, FakeClock()), SQLiteRecords(other, FakeClock())

        for number in range(50):
            await there.put(Put(KEY, {"n": number}))
            assert await here.get(KEY) == {"n": number}

        other.close()

    def test_cannot_write(self, store: SQLiteStore) -> None:
        """Only the writer thread holds the lock that writing needs."""
        with pytest.raises(StorageUnavailable, match="readonly"):
            store.select(INSERT, ("a", "1"))


class TestClose:
    async def test_commits_what_is_pending(self, tmp_path: Path) -> None:
        """A clean stop loses nothing that was submitted."""
        store = SQLiteStore(tmp_path / "edgepost.db", durability="normal", background=True)
        writes = [store.execute(INSERT, ("p", str(number))) for number in range(300)]

        store.close()
        store.close()

        assert await asyncio.gather(*writes) == [1] * 300

    async def test_afterwards_nothing_works(self, store: SQLiteStore) -> None:
        """A late caller gets an error instead of waiting for ever."""
        store.select(COUNT, ())
        store.close()

        with pytest.raises(StorageUnavailable):
            await store.execute(INSERT, ("a", "1"))
        with pytest.raises(StorageUnavailable):
            store.select(COUNT, ())
