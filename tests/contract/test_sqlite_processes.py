"""Several processes on one database file, and processes that are killed."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from shared.adapters.clock import utc_now
from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.store import SQLiteStore
from shared.ports import Key
from tests.contract.conftest import HOUR, NO_WAIT

LONG = timedelta(seconds=30)
KILLS = 5
ACKNOWLEDGED_BEFORE_KILL = 60


@asynccontextmanager
async def peer(task: str, store: SQLiteStore) -> AsyncIterator[Process]:
    """Start the other process; it is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.sqlite_peer", task, str(store.path), stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class TestSharing:
    async def test_a_send_of_another_process_wakes_a_waiting_receive(self, store: SQLiteStore) -> None:
        """The SMTP node takes at once what the API process accepted."""
        queue = SQLiteQueue(store, "shared", utc_now)
        async with peer("send", store) as sender:
            assert await sender.stdout.readline() == b"ready\n"
            for number in range(3):
                waiting = asyncio.create_task(queue.receive(10, wait=LONG, visibility=HOUR))
                await asyncio.sleep(0)
                assert not waiting.done()

                sender.stdin.write(b"%d\n" % number)

                (message,) = await asyncio.wait_for(waiting, 20)
                assert message.body == str(number)


class TestKill:
    async def test_no_acknowledged_write_is_lost(self, store: SQLiteStore) -> None:
        """Kill -9 at any moment: what was acknowledged is there, and the next process goes on."""
        records, bodies = SQLiteRecords(store, utc_now), SQLiteBodies(store, utc_now)
        queue = SQLiteQueue(store, "shared", utc_now)
        for _ in range(KILLS):
            acknowledged = await self.killed_writer(store)

            items = await records.get_many([Key("p", f"{number:09d}") for number in acknowledged])
            messages = await self.drained(queue)

            assert len(acknowledged) >= ACKNOWLEDGED_BEFORE_KILL
            assert {item["n"] for item in items.values()} == acknowledged
            assert acknowledged <= messages
            for number in acknowledged:
                assert await bodies.get(f"{number}") == b"%d" % number
        assert store.select("PRAGMA integrity_check", ()) == [("ok",)]

    @staticmethod
    async def killed_writer(store: SQLiteStore) -> set[int]:
        """Run a writer, kill it in the midst of work, and return what it had acknowledged."""
        async with peer("write", store) as writer:
            lines = [await writer.stdout.readline() for _ in range(ACKNOWLEDGED_BEFORE_KILL)]
            writer.kill()
            rest, _ = await writer.communicate()
        complete = b"".join(lines) + rest[: rest.rfind(b"\n") + 1]
        return {int(line) for line in complete.split()}

    @staticmethod
    async def drained(queue: SQLiteQueue) -> set[int]:
        """Take and remove all messages."""
        found: set[int] = set()
        while some := await queue.receive(10, wait=NO_WAIT, visibility=HOUR):
            found |= {int(message.body) for message in some}
            await queue.delete([message.receipt for message in some])
        return found
