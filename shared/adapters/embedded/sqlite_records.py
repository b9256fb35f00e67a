"""Records on SQLite: one table, the item as JSON text.

The table is clustered by its primary key, so a query reads one stretch of it.
Sort keys compare by their UTF-8 bytes, as in DynamoDB.  An expired item counts
as absent everywhere until ``prune`` removes it.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias, assert_never

from shared.adapters.embedded.store import Parameters, SQLiteStore
from shared.adapters.record_rules import all_hold, changed, check_group, check_update
from shared.domain.moments import to_ms
from shared.ports import Delete, Item, Key, Page, Put, Update, Write

MAX_PAGE_ITEMS = 1000
"""Rows one query looks at, so that a page never holds up the event loop for long."""

_WRITES_IN_ONE_STEP = 100

GET = "SELECT data, expires_at FROM records WHERE partition = ? AND sort = ?"
PUT = (
    "INSERT INTO records(partition, sort, data, expires_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT(partition, sort) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at"
)
DELETE = "DELETE FROM records WHERE partition = ? AND sort = ?"
_PAGE = "SELECT sort, data, expires_at FROM records WHERE partition = ? AND "
FORWARD = _PAGE + "sort >= ? AND sort < ? ORDER BY sort LIMIT ?"
FORWARD_AFTER = _PAGE + "sort > ? AND sort < ? ORDER BY sort LIMIT ?"
BACKWARD = _PAGE + "sort >= ? AND sort < ? ORDER BY sort DESC LIMIT ?"
PRUNE = (
    "DELETE FROM records WHERE (partition, sort) IN"
    " (SELECT partition, sort FROM records INDEXED BY records_expiry WHERE expires_at <= ?"
    " ORDER BY expires_at LIMIT ?)"
)

_ABOVE_ALL_TEXT = b""
"""SQLite orders every blob after every text (https://www.sqlite.org/datatype3.html §4.1)."""

Step: TypeAlias = tuple[str, Parameters, Item]
"""A statement that carries out a write, and the item as it is afterwards."""
Decision: TypeAlias = Callable[[sqlite3.Connection], Step | None]
"""Reads what the conditions need; None if one does not hold."""


class SQLiteRecords:
    """``Records`` in a database file; see ``shared.ports`` for what each method promises."""

    def __init__(self, store: SQLiteStore, clock: Callable[[], datetime]) -> None:
        """Use the store; the clock decides what has expired."""
        self._store = store
        self._clock = clock

    async def get(self, key: Key) -> Item | None:
        """Return the item, or None."""
        now_ms = to_ms(self._clock())
        return self._store.read(lambda connection: _live(connection, key, now_ms)[0])

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Return those of the items that exist."""
        now_ms = to_ms(self._clock())

        def operation(connection: sqlite3.Connection) -> dict[Key, Item]:
            items = ((key, _live(connection, key, now_ms)[0]) for key in keys)
            return {key: item for key, item in items if item is not None}

        return self._store.read(operation)

    async def put(self, put: Put) -> bool:
        """Store one item; False if a condition did not hold."""
        return await self._write_one(put) is not None

    async def put_many(self, puts: Sequence[Put]) -> None:
        """Store items without conditions, a hundred in one transaction."""
        if any(put.when for put in puts):
            raise ValueError("put_many takes no conditions")
        rows = [_row(put) for put in puts]
        for start in range(0, len(rows), _WRITES_IN_ONE_STEP):
            await self._store.execute_each(PUT, rows[start : start + _WRITES_IN_ONE_STEP])

    async def update(self, update: Update) -> Item | None:
        """Change one item and return it as it is now; None if a condition did not hold."""
        return await self._write_one(update)

    async def delete(self, delete: Delete) -> bool:
        """Remove one item; False if a condition did not hold."""
        return await self._write_one(delete) is not None

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Do all writes or none; False if any condition did not hold."""
        check_group(writes)
        now_ms = to_ms(self._clock())
        decisions = [_decision(write, now_ms) for write in writes]

        def operation(connection: sqlite3.Connection) -> bool:
            steps = [decide(connection) for decide in decisions]
            wanted = [step for step in steps if step is not None]
            if len(wanted) < len(steps):
                return False
            for statement, parameters, _ in wanted:
                connection.execute(statement, parameters)
            return True

        return await self._store.write(operation)

    async def query(
        self,
        partition: str,
        *,
        at_least: str = "",
        below: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of one partition; expired items make it shorter, never the work longer."""
        if limit < 1:
            raise ValueError(f"a page holds at least 1 item, got {limit}")
        rows_wanted = min(limit, MAX_PAGE_ITEMS)
        first: str = at_least
        end: str | bytes = _ABOVE_ALL_TEXT if below is None else below
        statement = BACKWARD if newest_first else FORWARD
        if cursor is not None and newest_first:
            end = cursor
        elif cursor is not None:
            statement, first = FORWARD_AFTER, cursor
        now_ms = to_ms(self._clock())
        rows = self._store.select(statement, (partition, first, end, rows_wanted + 1))
        page = rows[:rows_wanted]
        return Page(
            items=[
                (Key(partition, sort), json.loads(data))
                for sort, data, expires_at in page
                if expires_at is None or expires_at > now_ms
            ],
            cursor=page[-1][0] if len(rows) > rows_wanted else None,
        )

    async def prune(self, now: datetime, limit: int) -> int:
        """Remove up to ``limit`` items that expired by now, in small steps; return how many."""
        removed = 0
        while removed < limit:
            step = min(_WRITES_IN_ONE_STEP, limit - removed)
            gone = await self._store.execute(PRUNE, (to_ms(now), step))
            removed += gone
            if gone < step:
                break
        return removed

    async def _write_one(self, write: Write) -> Item | None:
        decide = _decision(write, to_ms(self._clock()))

        def operation(connection: sqlite3.Connection) -> Item | None:
            step = decide(connection)
            if step is None:
                return None
            connection.execute(step[0], step[1])
            return step[2]

        return await self._store.write(operation)


def _live(connection: sqlite3.Connection, key: Key, now_ms: int) -> tuple[Item | None, int | None]:
    """Return the item and its expiry, or None twice if there is none or it has expired."""
    for data, expires_at in connection.execute(GET, key).fetchall():
        if expires_at is None or expires_at > now_ms:
            return json.loads(data), expires_at
    return None, None


def _decision(write: Write, now_ms: int) -> Decision:
    """Prepare a write: what needs no database is done here, outside of the transaction."""
    match write:
        case Put():
            return _decide_put(write, now_ms)
        case Update():
            return _decide_update(write, now_ms)
        case Delete():
            return _decide_delete(write, now_ms)
        case _:
            assert_never(write)


def _decide_put(put: Put, now_ms: int) -> Decision:
    step: Step = (PUT, _row(put), put.item)

    def decide(connection: sqlite3.Connection) -> Step | None:
        return step if not put.when or all_hold(put.when, _live(connection, put.key, now_ms)[0]) else None

    return decide


def _decide_update(update: Update, now_ms: int) -> Decision:
    given_expiry = None if update.expires_at is None else to_ms(update.expires_at)
    check_update(update)

    def decide(connection: sqlite3.Connection) -> Step | None:
        item, expires_at = _live(connection, update.key, now_ms)
        if not all_hold(update.when, item):
            return None
        after = changed(item, update)
        expiry = expires_at if given_expiry is None else given_expiry
        return PUT, (*update.key, _encoded(after), expiry), after

    return decide


def _decide_delete(delete: Delete, now_ms: int) -> Decision:
    step: Step = (DELETE, delete.key, {})

    def decide(connection: sqlite3.Connection) -> Step | None:
        return step if not delete.when or all_hold(delete.when, _live(connection, delete.key, now_ms)[0]) else None

    return decide


def _row(put: Put) -> Parameters:
    return (*put.key, _encoded(put.item), None if put.expires_at is None else to_ms(put.expires_at))


def _encoded(item: Item) -> str:
    return json.dumps(item, separators=(",", ":"))
