"""What ``SQLiteBodies`` promises beyond the port: no damage unseen, no file left behind."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.store import SQLiteStore
from shared.domain.errors import StorageUnavailable
from tests.contract.conftest import HOUR
from tests.fakes.clock import FakeClock

SMALL = b"Subject: hello\r\n\r\nhello\r\n"
LARGE = random.Random(7).randbytes(300_000)  # incompressible, so it becomes a file


def files(store: SQLiteStore) -> list[Path]:
    """Return the files below ``bodies``."""
    return [path for path in (store.path.parent / "bodies").rglob("*") if path.is_file()]


class TestPut:
    async def test_large_bodies_are_files_and_small_ones_are_not(self, store: SQLiteStore, clock: FakeClock) -> None:
        """The database stays small enough to copy while large mail passes."""
        bodies = SQLiteBodies(store, clock)

        await bodies.put("small", SMALL, expires_at=clock() + HOUR)
        await bodies.put("zeros", bytes(5_000_000), expires_at=clock() + HOUR)
        assert files(store) == []

        await bodies.put("large", LARGE, expires_at=clock() + HOUR)
        assert len(files(store)) == 1

    async def test_a_repeat_leaves_one_file_after_pruning(self, store: SQLiteStore, clock: FakeClock) -> None:
        """The file of the first put is not lost track of."""
        bodies = SQLiteBodies(store, clock)
        for _ in range(3):
            await bodies.put("k", LARGE, expires_at=clock() + HOUR)

        await bodies.prune(clock(), 100)

        assert len(files(store)) == 1
        assert await bodies.get("k") == LARGE

    async def test_a_failed_write_of_the_file_is_unavailable(self, store: SQLiteStore, clock: FakeClock) -> None:
        """A full or broken disk is temporary, and nothing half-written is ever read."""
        bodies = SQLiteBodies(store, clock)
        blocked = store.path.parent / "bodies"
        blocked.write_text("a file where the directory should be")

        with pytest.raises(StorageUnavailable):
            await bodies.put("k", LARGE, expires_at=clock() + HOUR)

        assert await bodies.get("k") is None
        blocked.unlink()
        await bodies.put("k", LARGE, expires_at=clock() + HOUR)
        assert await bodies.get("k") == LARGE

    async def test_full_durability_works_too(self, tmp_path: Path, clock: FakeClock) -> None:
        """The path with fsync of file and directory."""
        store = SQLiteStore(tmp_path / "edgepost.db", durability="full")
        bodies = SQLiteBodies(store, clock)

        await bodies.put("k", LARGE, expires_at=clock() + HOUR)

        assert await bodies.get("k") == LARGE
        store.close()


class TestGet:
    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
    async def test_a_damaged_file_is_unavailable(self, store: SQLiteStore, clock: FakeClock, damage: str) -> None:
        """Wrong bytes must never be sent as if they were the customer's."""
        bodies = SQLiteBodies(store, clock)
        await bodies.put("other", LARGE[::-1], expires_at=clock() + HOUR)
        (other,) = files(store)
        await bodies.put("k", LARGE, expires_at=clock() + HOUR)
        (file,) = set(files(store)) - {other}
        kept = file.read_bytes()
        flipped = kept[:999] + bytes([kept[999] ^ 1]) + kept[1000:]

        file.write_bytes({"flip": flipped, "cut": kept[:-9], "empty": b"", "swap": other.read_bytes()}[damage])

        with pytest.raises(StorageUnavailable):
            await bodies.get("k")

    async def test_a_damaged_row_is_unavailable(self, store: SQLiteStore, clock: FakeClock) -> None:
        """The digest covers bodies in the table as well."""
        bodies = SQLiteBodies(store, clock)
        await bodies.put("a", SMALL, expires_at=clock() + HOUR)
        await bodies.put("b", SMALL[::-1], expires_at=clock() + HOUR)

        await store.execute("UPDATE bodies SET data = (SELECT data FROM bodies WHERE key = 'b') WHERE key = ?", ("a",))

        with pytest.raises(StorageUnavailable):
            await bodies.get("a")

    async def test_a_missing_file_is_unavailable_not_absent(self, store: SQLiteStore, clock: FakeClock) -> None:
        """A restore that forgot the files must not look like mail that was never there."""
        bodies = SQLiteBodies(store, clock)
        await bodies.put("k", LARGE, expires_at=clock() + HOUR)

        files(store)[0].unlink()

        with pytest.raises(StorageUnavailable, match="missing"):
            await bodies.get("k")


class TestDelete:
    async def test_removes_the_file_and_every_trace(self, store: SQLiteStore, clock: FakeClock) -> None:
        """A deleted message is gone from the disk, not only from sight."""
        bodies = SQLiteBodies(store, clock)
        await bodies.put("k", LARGE, expires_at=clock() + HOUR)

        await bodies.delete("k")

        assert files(store) == []
        assert store.select("SELECT (SELECT count(*) FROM bodies) + (SELECT count(*) FROM body_files)", ()) == [(0,)]


class TestPrune:
    async def test_removes_expired_bodies_and_their_files(self, store: SQLiteStore, clock: FakeClock) -> None:
        """Retention ends for both kinds; what is younger stays."""
        bodies = SQLiteBodies(store, clock)
        for number in range(60):
            await bodies.put(f"small {number}", SMALL, expires_at=clock() + HOUR)
        await bodies.put("large", LARGE, expires_at=clock() + HOUR)
        await bodies.put("younger", LARGE, expires_at=clock() + 2 * HOUR)
        clock.advance(HOUR)

        await bodies.prune(clock(), 1000)

        assert store.select("SELECT key FROM bodies", ()) == [("younger",)]
        assert len(files(store)) == 1
        assert await bodies.get("younger") == LARGE
        assert await bodies.prune(clock(), 1000) == 0

    async def test_removes_what_a_crash_left_behind(self, store: SQLiteStore, clock: FakeClock) -> None:
        """A file whose body was never recorded is found by its own row an hour later."""
        bodies = SQLiteBodies(store, clock)
        await bodies.put("k", LARGE, expires_at=clock() + timedelta(days=9))
        unfinished = store.path.parent / "bodies" / "ab" / "abcd"
        unfinished.parent.mkdir(exist_ok=True)
        unfinished.write_bytes(b"half a bo")
        await store.execute("INSERT INTO body_files VALUES (?, ?)", ("abcd", int((clock() + HOUR).timestamp() * 1000)))

        await bodies.prune(clock(), 1000)
        assert len(files(store)) == 2
        clock.advance(HOUR)
        await bodies.prune(clock(), 1000)

        assert unfinished not in files(store)
        assert await bodies.get("k") == LARGE
