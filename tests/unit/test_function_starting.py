"""What a function sees to before its first event: that it knows the form of the records."""

import asyncio
import logging
import threading

import pytest

from functions.outward.records import all_at_once
from functions.starting import check_schema
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.ports import Item, Key, Put
from shared.store.keys import installation_key
from shared.store.schema import RECORDS_SCHEMA
from tests.fakes.clock import FakeClock
from tests.fakes.records import FakeRecords


class CountingRecords(FakeRecords):
    """Counts what is read; fails if told to."""

    reads = 0
    away = False
    hangs: threading.Event | None = None

    async def get(self, key: Key) -> Item | None:
        """As the port says."""
        self.reads += 1
        if self.hangs:
            self.hangs.wait()
        if self.away:
            raise StorageUnavailable("away")
        return await super().get(key)


def records_of(schema: int | None) -> CountingRecords:
    """Return records whose installation has that number."""
    records = CountingRecords(FakeClock())
    item: Item = {} if schema is None else {"schema": schema}
    asyncio.run(records.put(Put(installation_key(), item)))
    return records


class TestCheckSchema:
    @pytest.mark.parametrize("schema", [None, RECORDS_SCHEMA])
    def test_a_known_form_costs_one_read(self, schema: int | None) -> None:
        """Of a process, not of an event."""
        records = records_of(schema)

        check_schema(records)

        assert records.reads == 1

    def test_before_anything_is_made_a_function_starts(self) -> None:
        """A stack is deployed first and initialized then."""
        check_schema(CountingRecords(FakeClock()))

    def test_a_newer_form_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        """An older function would misread the records, and write what the newer one misreads."""
        with pytest.raises(StorageUnavailable, match="run the newer Edgepost"):
            check_schema(records_of(RECORDS_SCHEMA + 1))

        assert [each.msg for each in caplog.records] == ["schema_too_new"]

    def test_a_store_that_is_away_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        """A short outage of the store must not be a longer one of the function."""
        records = records_of(RECORDS_SCHEMA + 1)
        records.away = True

        check_schema(records)

        assert [(each.msg, each.levelno) for each in caplog.records] == [("schema_not_known", logging.WARNING)]

    def test_a_store_that_hangs_is_not_waited_for(self, caplog: pytest.LogCaptureFixture) -> None:
        """All tries of a call take longer than Lambda lets a function start."""
        records = records_of(RECORDS_SCHEMA + 1)
        records.hangs = threading.Event()

        check_schema(records, patience_s=0)
        records.hangs.set()

        assert [(each.msg, each.levelno) for each in caplog.records] == [("schema_not_known", logging.WARNING)]

    def test_leaves_the_threads_loop_as_it_was(self) -> None:
        """Mangum asks for it."""
        records, loop = records_of(RECORDS_SCHEMA), asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        check_schema(records)

        assert asyncio.get_event_loop_policy().get_event_loop() is loop
        loop.close()
        asyncio.set_event_loop(None)

    async def test_may_be_asked_while_a_loop_runs(self) -> None:
        """Benchmarks import the functions from their own."""
        records = CountingRecords(FakeClock())

        check_schema(records)

        assert records.reads == 1


class TestAllAtOnce:
    async def test_reports_what_is_not_done(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each record alone: one that is broken, late or crashes takes no other along."""
        results: dict[str, bool | Exception] = {
            "done": True,
            "later": False,
            "away": StorageUnavailable("away"),
            "unreadable": InvalidValue("no job"),
            "crashed": KeyError("x"),
        }

        async def one(record: object) -> bool:
            found = results[record["messageId"]]  # type: ignore[index]
            if isinstance(found, Exception):
                raise found
            return found

        answer = await all_at_once([{"messageId": name} for name in results], one, function="inbound")

        assert [each["itemIdentifier"] for each in answer["batchItemFailures"]] == [*results][1:]
        logged = {(each.msg, each.levelname, vars(each)["record"]) for each in caplog.records}
        assert logged == {
            ("record_interrupted", "WARNING", "away"),
            ("record_unreadable", "ERROR", "unreadable"),
            ("record_crashed", "ERROR", "crashed"),
        }

    async def test_all_are_worked_on_at_once(self) -> None:
        """The second must not wait for the first one's server."""
        begun = asyncio.Event()

        async def one(record: object) -> bool:
            if record["messageId"] == "first":  # type: ignore[index]
                await begun.wait()
            begun.set()
            return True

        records = [{"messageId": "first"}, {"messageId": "second"}]
        async with asyncio.timeout(5):
            assert await all_at_once(records, one, function="webhooks") == {"batchItemFailures": []}
