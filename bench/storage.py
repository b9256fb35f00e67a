"""Records and queue on SQLite with few rows and with very many: neither may become slower.

BENCH_RECORDS and BENCH_QUEUED set how many "very many" is.
"""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import measure
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Equals, Key, Outgoing, Put, Update

FEW = 1000
OPERATIONS = 3000
CONCURRENT = 32
FILL_BATCH = 2000
PARTITION_ROWS = 1000
GROUPS = 20

Step = Callable[[int], Awaitable[object]]


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def _key(number: int) -> Key:
    return Key(f"message#7#o#{number // PARTITION_ROWS}", f"{number:016d}")


def _put(number: int) -> Put:
    item = {"rcpt_to": f"user{number}@example.com", "status": "Pending", "attempt": 1, "subject": "Your order", "n": 0}
    return Put(_key(number), item)


def _job(number: int) -> Outgoing:
    return Outgoing(
        f'{{"v":1,"server":7,"message":{number},"attempt":1,"target":{{"mx":"example.com"}}}}', f"{number % GROUPS}"
    )


async def _per_second(step: Step) -> float:
    """Return how many steps a second are done by many tasks at once."""
    numbers = iter(range(OPERATIONS))

    async def worker() -> None:
        for number in numbers:
            await step(number)

    started = asyncio.get_running_loop().time()
    await asyncio.gather(*[worker() for _ in range(CONCURRENT)])
    return OPERATIONS / (asyncio.get_running_loop().time() - started)


async def _records_rates(records: SQLiteRecords, rows: int, rng: random.Random) -> dict[str, float]:
    async def query(_: int) -> None:
        await records.query(_key(rng.randrange(rows)).partition, limit=100)

    def update(number: int) -> Awaitable[object]:
        return records.update(Update(_key(number % rows), add={"n": 1}, when=[Equals("attempt", 1)]))

    async def overwrite(_: int) -> None:
        await records.put(_put(rng.randrange(rows)))

    return {
        "get": await _per_second(lambda _: records.get(_key(rng.randrange(rows)))),
        "query of 100": await _per_second(query),
        "conditional update": await _per_second(update),
        "put at random": await _per_second(overwrite),
        "put at the end": await _per_second(lambda number: records.put(_put(rows + number))),
    }


async def _queue_rates(queue: SQLiteQueue) -> dict[str, float]:
    async def cycle(_: int) -> None:
        await queue.send([_job(0)])
        got = await queue.receive(1, wait=timedelta(0), visibility=timedelta(seconds=30))
        await queue.delete([each.receipt for each in got])

    return {"send, receive and delete of one": await _per_second(cycle)}


async def _rates(home: Path, rows: int, queued: int) -> dict[str, float]:
    store = SQLiteStore(home / "bench.db", durability="normal")
    records, queue = SQLiteRecords(store, now), SQLiteQueue(store, "work-default", now)
    try:
        for start in range(0, rows, FILL_BATCH):
            await records.put_many([_put(number) for number in range(start, min(rows, start + FILL_BATCH))])
        for start in range(0, queued, FILL_BATCH):
            await queue.send([_job(number) for number in range(start, min(queued, start + FILL_BATCH))])
        return await _records_rates(records, rows, random.Random(1)) | await _queue_rates(queue)
    finally:
        store.close()
        shutil.rmtree(home, ignore_errors=True)


def _empty(home: Path) -> Path:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return home


def run(directory: Path) -> str:
    """Measure both sizes and return the table."""
    few, many = (
        asyncio.run(_rates(_empty(directory / "storage"), *sizes))
        for sizes in ((FEW, FEW), (measure.RECORDS, measure.QUEUED))
    )
    rows = [[name, f"{few[name]:,.0f}", f"{many[name]:,.0f}", f"{many[name] / few[name]:.2f}"] for name in few]
    head = [
        f"SQLite, {CONCURRENT} tasks in one process, operations/s",
        f"{FEW:,} records, {FEW:,} queued",
        f"{measure.RECORDS:,} records, {measure.QUEUED:,} queued",
        "ratio",
    ]
    return measure.table(head, rows)
