"""Recording events in a store whose callers can be killed, stopped or left without a reply."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from shared.domain.event import Event, EventKind
from shared.domain.ids import OrganizationId, ServerId, draw_ids
from shared.domain.tenancy import Mode, Server, Shards
from shared.flow.record import Recorded, Recording, record
from shared.ports import Delete, Item, Key, Put, Update, Write
from shared.store.directory import Directory
from shared.store.event_flushes import LEFT_ALONE, READ_AFTER, Flushes
from shared.store.event_log import WAITED_FOR, EventLog, cursor_at
from shared.store.events import Events
from shared.store.servers import server_puts
from tests.fakes.clock import FakeClock
from tests.fakes.records import FakeRecords

KEPT = timedelta(days=45)


class Killed(BaseException):
    """The process ends here: nothing catches it."""


class MortalRecords(FakeRecords):
    """Records whose caller is killed, or loses a reply, at a chosen call.

    Every call lets the others of the loop go on, as those over a network do.
    """

    calls = 0
    kill_at = 0
    kill_after = False
    """Whether the call was carried out."""

    error: type[BaseException] = Killed

    turns: Callable[[], int] = staticmethod(lambda: 1)
    """Turns of the loop that a call takes before it is carried out."""

    every_write_twice = False
    """Replies are lost on the way, and something below the port tries again."""

    before_call: Callable[[], Awaitable[None]] | None = None

    async def _call(self, work: Callable[[], Awaitable[object]]) -> object:
        if self.before_call is not None:
            await self.before_call()
        for _ in range(self.turns()):
            await asyncio.sleep(0)
        self.calls += 1
        now = self.calls == self.kill_at
        if now and not self.kill_after:
            raise self.error("before the write")
        result = await work()
        if self.every_write_twice:
            result = await work()
        if now:
            raise self.error("after the write")
        return result

    async def get(self, key: Key) -> Item | None:
        """As the port says."""
        return await self._call(lambda: super(MortalRecords, self).get(key))  # type: ignore[return-value]

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """As the port says."""
        found = {key: await FakeRecords.get(self, key) for key in keys}
        return await self._call(lambda: _done({key: item for key, item in found.items() if item}))  # type: ignore[return-value]

    async def put(self, put: Put) -> bool:
        """As the port says."""
        return await self._call(lambda: FakeRecords.atomically(self, [put]))  # type: ignore[return-value]

    async def update(self, update: Update) -> Item | None:
        """As the port says."""

        async def work() -> Item | None:
            held = await FakeRecords.atomically(self, [update])
            return await FakeRecords.get(self, update.key) if held else None

        return await self._call(work)  # type: ignore[return-value]

    async def delete(self, delete: Delete) -> bool:
        """As the port says."""
        return await self._call(lambda: FakeRecords.atomically(self, [delete]))  # type: ignore[return-value]

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """As the port says."""
        return await self._call(lambda: FakeRecords.atomically(self, writes))  # type: ignore[return-value]


async def _done(value: object) -> object:
    return value


@dataclass
class World:
    """One store, one server, and consumers over it."""

    clock: FakeClock = field(default_factory=FakeClock)
    shards: int = 1
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    handed: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = MortalRecords(self.clock)
        self.server = Server(
            id=ServerId(7),
            organization_id=OrganizationId(1),
            name="s",
            permalink="s",
            token="abcdef",
            mode=Mode.LIVE,
            created_at=self.clock(),
            shards=(Shards(self.clock() - timedelta(days=30), self.shards),),
        )
        self.events = Events(self.records)
        self.log = EventLog(self.records, kept=KEPT)

    async def begin(self) -> "World":
        """Store the server."""
        await self.store_server()
        return self

    async def store_server(self) -> None:
        """Store the server as it is now, and let no process remember another one."""
        for put in server_puts(self.server):
            await FakeRecords.atomically(self.records, [replace(put, when=())])  # type: ignore[type-var]

    def event(self, number: int = 1, kind: EventKind = EventKind.DELIVERED, **changes: object) -> Event:
        """Return an event of a message of its own."""
        [message_id] = draw_ids(self.clock() + timedelta(milliseconds=number), 1, self.rng)
        values: dict[str, object] = {
            "message_id": message_id,
            "attempt": 1,
            "at": self.clock(),
            "details": f"n{number}",
        }
        return Event(kind, ServerId(7), **{**values, **changes})  # type: ignore[arg-type]

    async def record(self, batch: Sequence[Event]) -> Recorded:
        """Record in a consumer of its own."""
        flushes = Flushes(self.records, clock=self.clock, rng=self.rng, kept=KEPT)
        return await record(
            batch,
            using=Recording(flushes, self.events, Directory(self.records, clock=self.clock)),
            hand_on=self._hand_on,
        )

    async def record_or_die(self, batch: Sequence[Event]) -> frozenset[UUID]:
        """Record in a process that may be killed; return the ids of what comes again."""
        try:
            return (await self.record(batch)).failed
        except Killed:
            # Nothing of the process lives on.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()  # type: ignore[union-attr]
            await asyncio.gather(*others, return_exceptions=True)  # type: ignore[arg-type]
            return frozenset(event.id for event in batch)

    async def _hand_on(self, events: Sequence[Event]) -> None:
        self.handed += events

    async def until_done(self, batch: Sequence[Event]) -> None:
        """Record again and again, as the queue would bring the batch."""
        for _ in range(5):
            if not (await self.record(batch)).failed:
                return
            self.clock.advance(LEFT_ALONE)
        raise AssertionError("the batch is never done")

    async def logged(self, limit: int = 3, cursor: str = "") -> list[Event]:
        """Read the log to its end, in small steps."""
        cursor = cursor or cursor_at(self.clock() - timedelta(days=1))
        found: list[Event] = []
        while True:
            page = await self.log.read(self.server, cursor, limit=limit, now=self.clock())
            found += page.events
            cursor = page.cursor
            if not page.more:
                return found

    async def check(self, batch: Sequence[Event]) -> None:
        """Each event is counted and listed once, and was handed on."""
        self.records.kill_at = 0
        self.clock.advance(WAITED_FOR + READ_AFTER)
        days = {event.at.date(): event.at for event in batch}
        counted: Counter[str] = Counter()
        for day in days.values():
            counted += await self.events.counted(ServerId(7), day)
        assert counted == Counter(event.kind.value for event in batch)
        listed = [event.id for event in await self.logged()]
        assert sorted(listed, key=str) == sorted((event.id for event in batch), key=str)
        assert {event.id for event in batch} <= {event.id for event in self.handed}
