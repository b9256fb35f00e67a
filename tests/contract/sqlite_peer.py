"""The other process of the tests that share one database file.

``python -m tests.contract.sqlite_peer send FILE`` sends one message for each
line it reads; ``write FILE`` writes items and messages without end and prints
the number of each once it was acknowledged.
"""

import asyncio
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

from shared.adapters.clock import utc_now
from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Key, Outgoing, Put

DAY = timedelta(days=1)


async def send(store: SQLiteStore) -> None:
    """Send what standard input says, line by line."""
    queue = SQLiteQueue(store, "shared", utc_now)
    store.open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        await queue.send([Outgoing(line.strip())])


async def write(store: SQLiteStore) -> None:
    """Write with many tasks until killed."""
    records, queue = SQLiteRecords(store, utc_now), SQLiteQueue(store, "shared", utc_now)
    bodies = SQLiteBodies(store, utc_now)
    numbers = count()

    async def work() -> None:
        for number in numbers:
            await bodies.put(f"{number}", b"%d" % number, expires_at=utc_now() + DAY)
            await records.put(Put(Key("p", f"{number:09d}"), {"n": number}))
            await queue.send([Outgoing(f"{number}")])
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(work() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run({"send": send, "write": write}[sys.argv[1]](SQLiteStore(Path(sys.argv[2]), durability="normal")))
