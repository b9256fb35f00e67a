"""A queue on SQLite: at least once, fair between groups, with long polling.

A message is in one of two indexes:

==========  =====================  ===============================================
ready = 1   (queue, group, id)     may be taken now
ready = 0   (queue, visible_at)    delayed, or in flight until its visibility ends
==========  =====================  ===============================================

A receive first makes due messages ready, or dead letters, a bounded number at a
time; then it goes around the groups, from where the last receive stopped, by
jumping from group to group in the index.  So its cost does not grow with the
queue.  Each process goes around on its own.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from shared.adapters.embedded import queue_statements as sql
from shared.adapters.embedded.store import SQLiteStore
from shared.domain.moments import from_ms, to_ms
from shared.ports import MAX_DELAY, Depth, Outgoing, Received

MAX_BATCH = 10
MAX_BODY_BYTES = 262_144
DEAD_SUFFIX = "-dead"

_PROMOTED_IN_ONE_STEP = 50
_WRITES_IN_ONE_STEP = 100
_RECEIPT = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")


class SQLiteQueue:
    """``Queue`` in a database file; see ``shared.ports`` for what each method promises.

    Dead letters lie on the queue of the same name with ``-dead`` behind it.
    """

    def __init__(self, store: SQLiteStore, name: str, clock: Callable[[], datetime], max_receives: int = 50) -> None:
        """Use the store; a message is received at most ``max_receives`` times."""
        self._store = store
        self._name = name
        self._dead = name + DEAD_SUFFIX
        self._clock = clock
        self._max_receives = max_receives
        self._last_group = ""

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Put messages on the queue, a hundred in one transaction.

        Raises:
            ValueError: a body or a delay is over its limit; nothing was sent.
        """
        now_ms = self._now_ms()
        rows = [self._row(message, now_ms) for message in messages]
        for start in range(0, len(rows), _WRITES_IN_ONE_STEP):
            await self._store.execute_each(sql.SEND, rows[start : start + _WRITES_IN_ONE_STEP])
            self._store.arrivals.announce(self._name)

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Sequence[Received]:
        """Take up to ``limit`` (1-10) messages; waits up to ``wait`` for the first."""
        if not 1 <= limit <= MAX_BATCH:
            raise ValueError(f"a receive takes 1 to {MAX_BATCH} messages, not {limit}")
        taken = await self._take_if_any(limit, visibility)
        if taken or wait <= timedelta(0):
            return taken
        with self._store.arrivals.listen(self._name, now_ms=self._now_ms, wait=wait) as listener:
            taken = await self._take_if_any(limit, visibility)
            while not taken and not listener.is_over:
                await listener.wait(self._next_due_ms())
                taken = await self._take_if_any(limit, visibility)
        return taken

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Set how long from now the messages stay hidden; 0 returns them at once."""
        now_ms = self._now_ms()
        until_ms = now_ms + to_milliseconds(visibility)
        hidden = [(self._name, *receipt, now_ms) for receipt in _parsed(receipts)]
        if not hidden:
            return
        if until_ms > now_ms:
            await self._store.execute_each(sql.EXTEND, [(until_ms, *row) for row in hidden])
        else:
            again = (self._max_receives, self._dead, now_ms)
            await self._store.execute_each(sql.RETURN, [(*again, *row) for row in hidden])
            self._store.arrivals.announce(self._name)

    async def delete(self, receipts: Sequence[str]) -> None:
        """Remove messages; an outdated receipt is ignored."""
        rows = [(self._name, *receipt) for receipt in _parsed(receipts)]
        if rows:
            await self._store.execute_each(sql.DELETE, rows)

    async def depth(self) -> Depth:
        """Count what lies on the queue, up to 100,000 of a kind; read from the indexes alone."""
        return await asyncio.to_thread(self._store.read, self._counted)

    async def dead(self, limit: int) -> Sequence[Received]:
        """Look at some dead letters without taking them; the dead letter queue deletes by their receipts."""
        return [_received(row) for row in self._store.select(sql.DEAD, (self._dead, limit))]

    async def redrive(self, limit: int) -> int:
        """Put up to ``limit`` dead letters back on the queue as new messages; return how many."""
        moved = 0
        while moved < limit:
            step = min(_WRITES_IN_ONE_STEP, limit - moved)
            some = await self._store.write(partial(self._revive, limit=step))
            self._store.arrivals.announce(self._name)
            moved += some
            if some < step:
                break
        return moved

    async def _take_if_any(self, limit: int, visibility: timedelta) -> Sequence[Received]:
        """Take messages; an empty queue costs a look, without the write lock."""
        due_ms = self._next_due_ms()
        while due_ms is not None and due_ms <= self._now_ms():
            taken = await self._finish(self._store.write(lambda connection: self._take(connection, limit, visibility)))
            if taken:
                return taken
            # Another process was faster, or all that was due had become dead letters.
            due_ms = self._next_due_ms()
        return ()

    async def _finish(self, taking: "asyncio.Future[Sequence[Received]]") -> Sequence[Received]:
        """Wait for what is being taken; if the receiver goes away meanwhile, give it back."""
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await self.extend([each.receipt for each in await taking], timedelta(0))
            raise

    def _next_due_ms(self) -> int | None:
        """Return when a message can next be taken: the past if now, None if none lies here."""
        ready, visible_at = self._store.select(sql.NEXT_DUE, (self._name, self._name))[0]
        due_ms: int | None = 0 if ready else visible_at
        return due_ms

    def _take(self, connection: sqlite3.Connection, limit: int, visibility: timedelta) -> Sequence[Received]:
        now_ms = self._now_ms()
        connection.execute(sql.PROMOTE, (self._max_receives, self._dead, self._name, now_ms, _PROMOTED_IN_ONE_STEP))
        chosen = self._choose(connection, limit)
        if not chosen:
            return ()
        rows = connection.execute(sql.TAKE, (now_ms + to_milliseconds(visibility), json.dumps(chosen))).fetchall()
        place = {message_id: index for index, message_id in enumerate(chosen)}
        return [_received(row) for row in sorted(rows, key=lambda row: place[row[0]])]

    def _choose(self, connection: sqlite3.Connection, limit: int) -> list[int]:
        """Choose messages, one of each group in turn, and remember where the round stopped."""
        groups = _groups(connection, sql.GROUPS_AFTER, self._name, self._last_group, limit)
        if len(groups) < limit:
            groups += _groups(connection, sql.GROUPS_UP_TO, self._name, self._last_group, limit - len(groups))
        if not groups:
            return []
        # Others take at least one message each, so no group can give more than this.
        most = limit - len(groups) + 1
        waiting = {
            group: [row[0] for row in connection.execute(sql.OF_GROUP, (self._name, group, most)).fetchall()]
            for group in groups
        }
        turns = [(turn, group) for turn in range(most) for group in groups if turn < len(waiting[group])]
        self._last_group = turns[:limit][-1][1]
        return [waiting[group][turn] for turn, group in turns[:limit]]

    def _revive(self, connection: sqlite3.Connection, limit: int) -> int:
        rows = connection.execute(sql.DEAD_ROWS, (self._dead, limit)).fetchall()
        now_ms = self._now_ms()
        connection.executemany(
            sql.SEND, [(self._name, group, body, 1, now_ms, sent_at) for _, group, body, sent_at in rows]
        )
        connection.executemany(sql.FORGET, [(row[0],) for row in rows])
        return len(rows)

    def _counted(self, connection: sqlite3.Connection) -> Depth:
        now_ms = self._now_ms()
        ready, dead, due, delayed, in_flight = connection.execute(
            sql.DEPTH, {"queue": self._name, "dead": self._dead, "now": now_ms}
        ).fetchone()
        return Depth(ready=ready + due, delayed=delayed, in_flight=in_flight, dead=dead)

    def _row(self, message: Outgoing, now_ms: int) -> tuple[str, str, str, int, int, int]:
        size_bytes = len(message.body.encode()) if len(message.body) * 4 > MAX_BODY_BYTES else 0
        if size_bytes > MAX_BODY_BYTES:
            raise ValueError(f"a queue message has at most {MAX_BODY_BYTES} bytes, not {size_bytes}")
        if not timedelta(0) <= message.delay <= MAX_DELAY:
            raise ValueError(f"a queue delays by at most {MAX_DELAY}, not {message.delay}")
        visible_at = now_ms + to_milliseconds(message.delay)
        return (self._name, message.group, message.body, int(visible_at <= now_ms), visible_at, now_ms)

    def _now_ms(self) -> int:
        return to_ms(self._clock())


def to_milliseconds(span: timedelta) -> int:
    """Return the span in whole milliseconds."""
    return round(span.total_seconds() * 1000)


def _groups(connection: sqlite3.Connection, statement: str, queue: str, last: str, limit: int) -> list[str]:
    parameters = {"queue": queue, "last": last, "limit": limit}
    return [row[0] for row in connection.execute(statement, parameters).fetchall()]


def _received(row: tuple[int, str, int, int]) -> Received:
    message_id, body, receives, sent_at = row
    # The number of the receive makes earlier receipts worthless.
    return Received(body, f"{message_id}.{receives}", receives, from_ms(sent_at))


def _parsed(receipts: Sequence[str]) -> list[tuple[int, int]]:
    """Return message id and number of the receive; what is no receipt is left out."""
    found = (_RECEIPT.fullmatch(receipt) for receipt in receipts)
    return [(int(match[1]), int(match[2])) for match in found if match]
