"""What ``SQLiteRecords`` promises beyond the port."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Key, Put
from tests.contract.conftest import HOUR
from tests.fakes.clock import FakeClock

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.dictionaries(st.text(), VALUES, max_size=6)
NAMES = st.text(st.characters(exclude_categories=["Cs"]))


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(st.dictionaries(st.tuples(NAMES, NAMES), ITEMS, min_size=1, max_size=10))
    def test_any_item_comes_back_as_it_was(self, items: dict) -> None:
        """Whatever JSON can carry survives, under any key, in one batch and in the right partition."""

        async def there_and_back(path: Path) -> dict:
            store = SQLiteStore(path / "edgepost.db", durability="normal")
            records = SQLiteRecords(store, FakeClock())
            await records.put_many([Put(Key(*key), item) for key, item in items.items()])
            found = await records.get_many([Key(*key) for key in items])
            for partition in {key[0] for key in items}:
                page = await records.query(partition)
                assert dict(page.items) == {Key(*key): item for key, item in items.items() if key[0] == partition}
            store.close()
            return found

        with tempfile.TemporaryDirectory() as directory:
            assert asyncio.run(there_and_back(Path(directory))) == items


class TestQuery:
    async def test_expired_items_make_a_page_short_but_not_the_last(self, store: SQLiteStore, clock: FakeClock) -> None:
        """A stretch of expired items costs one page's work at a time."""
        records = SQLiteRecords(store, clock)
        await records.put_many([Put(Key("p", f"{n}"), {}, expires_at=clock() + HOUR) for n in range(5)])
        await records.put(Put(Key("p", "9"), {}))
        clock.advance(HOUR)

        first = await records.query("p", limit=3)
        second = await records.query("p", limit=3, cursor=first.cursor)

        assert (first.items, first.cursor) == ([], "2")
        assert [key.sort for key, _ in second.items] == ["9"]
        assert second.cursor is None


class TestPrune:
    async def test_removes_what_expired_and_nothing_else(self, store: SQLiteStore, clock: FakeClock) -> None:
        """Expiry hides at once; pruning gives the room back."""
        records = SQLiteRecords(store, clock)
        await records.put_many([Put(Key("old", f"{n:03d}"), {}, expires_at=clock() + HOUR) for n in range(250)])
        await records.put(Put(Key("later", "1"), {}, expires_at=clock() + HOUR + timedelta(milliseconds=1)))
        await records.put(Put(Key("for ever", "1"), {}))
        clock.advance(HOUR)

        assert await records.prune(clock(), 240) == 240
        assert await records.prune(clock(), 240) == 10
        assert await records.prune(clock(), 240) == 0

        assert store.select("SELECT partition FROM records ORDER BY partition", ()) == [("for ever",), ("later",)]
