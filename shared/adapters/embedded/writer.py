"""The one thread of a process that writes: many operations, one transaction.

A commit costs the same for one operation as for fifty, so the thread takes
whatever is pending into one transaction of at most ``MAX_TRANSACTION_S``, with
the lock held that lets one process write at a time.  What is submitted in one turn
of an event loop is handed over together: waking the thread costs more than most
operations do.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from shared.adapters.embedded.write_lock import WriteLock
from shared.domain.errors import StorageUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Operation: TypeAlias = Callable[[sqlite3.Connection], T]
"""Runs in the writer's transaction: checks everything before its first write, keeps nothing open."""

MAX_TRANSACTION_S = 0.005
BACKGROUND_PAUSE_S = 0.002

_OWN_FAULT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class _Pending:
    """An operation on its way, and what became of it."""

    __slots__ = ("error", "future", "loop", "operation", "result")

    def __init__(self, operation: Operation[Any], future: "asyncio.Future[Any]") -> None:
        self.operation = operation
        self.future = future
        self.loop = future.get_loop()
        self.result: Any = None  # whatever the operation returned
        self.error: BaseException | None = None


class Writer:
    """Runs operations in group commits and hands their results to the event loops."""

    def __init__(self, database: Path, connect: Callable[[], sqlite3.Connection], *, background: bool) -> None:
        """Open the connection and start the thread.

        Args:
            database: the file; the lock's files lie beside it.
            connect: opens the connection; called again after one that broke.
            background: rest for ``BACKGROUND_PAUSE_S`` between transactions, so that they are fewer and fuller.

        Raises:
            sqlite3.Error: the connection cannot be opened.
            OSError: the lock cannot be opened.
        """
        self._connect = connect
        self._background = background
        self._batches: dict[asyncio.AbstractEventLoop, list[_Pending]] = {}
        self._handed_over: SimpleQueue[list[_Pending] | None] = SimpleQueue()
        self._backlog: deque[_Pending] = deque()
        """Handed over and not begun; the thread's own."""

        self._closed = False
        self._ended = False
        self._lock = WriteLock(database)
        try:
            with self._lock.held():
                self._connection: sqlite3.Connection | None = connect()
        except BaseException:
            self._lock.close()
            raise
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[T]) -> "asyncio.Future[T]":
        """Return a future of the running loop that ends once the operation is committed.

        Raises, through the future:
            StorageUnavailable: the transaction failed, or the writer is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._closed:
            future.set_exception(StorageUnavailable("the store is closed"))
            return future
        batch = self._batches.get(loop)
        if batch is None:
            batch = self._batches[loop] = []
            loop.call_soon(self._hand_over, loop)
        batch.append(_Pending(operation, future))
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if batch := self._batches.pop(loop, None):
            self._handed_over.put(batch)

    def close(self) -> None:
        """Commit what is pending, end the thread, close the connection.  Twice: nothing more."""
        if self._closed:
            return
        self._closed = True
        for loop in list(self._batches):
            self._hand_over(loop)
        self._handed_over.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
        self._lock.close()

    def _run(self) -> None:
        while self._wait_for_work():
            self._transaction()
            if self._background:
                time.sleep(BACKGROUND_PAUSE_S)

    def _wait_for_work(self) -> bool:
        """Wait until something is pending; False at the end of all work."""
        if not self._backlog and not self._ended:
            self._take(self._handed_over.get())
        return bool(self._backlog)

    def _take_arrived(self) -> None:
        """Add what was handed over meanwhile to the backlog."""
        with contextlib.suppress(Empty):
            while not self._ended:
                self._take(self._handed_over.get_nowait())

    def _take(self, batch: list[_Pending] | None) -> None:
        if batch is None:
            self._ended = True
        else:
            self._backlog.extend(batch)

    def _transaction(self) -> None:
        """Commit one group."""
        group: list[_Pending] = []
        try:
            with self._lock.held():
                if self._connection is None:
                    self._connection = self._connect()
                connection = self._connection
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    self._fill(connection, group)
                    connection.execute("COMMIT")
                except sqlite3.Error:
                    self._roll_back(connection)
                    raise
        except (sqlite3.Error, OSError, StorageUnavailable) as exc:
            # Those that were not begun fail too: without a connection nothing would ever begin them.
            group.extend(self._backlog)
            self._backlog.clear()
            log.exception("storage_write_failed", extra={"operations": len(group)})
            for each in group:
                each.error = _unavailable(exc)
        _settle(group)

    def _fill(self, connection: sqlite3.Connection, group: list[_Pending]) -> None:
        """Run pending operations until none is left or time is up."""
        deadline = time.monotonic() + MAX_TRANSACTION_S
        while self._backlog:
            following = self._backlog.popleft()
            group.append(following)
            if not _attempt(connection, following):
                _repeat_without_failed(connection, group)
            if time.monotonic() >= deadline:
                return
            if not self._backlog:
                self._take_arrived()

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End a failed transaction; a connection that cannot is replaced by the next one."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("storage_connection_replaced")
            self._connection = None
            connection.close()


def _attempt(connection: sqlite3.Connection, pending: _Pending) -> bool:
    """Run one operation; False if it failed half-way, by its own mistake."""
    if pending.future.cancelled():
        # Nobody waits for it any more: it may as well not happen.
        return True
    changes = connection.total_changes
    try:
        pending.result = pending.operation(connection)
    except _OWN_FAULT as exc:
        pending.error = _unavailable(exc)
    except sqlite3.Error:
        raise
    except Exception as exc:  # noqa: BLE001 - the thread must outlive any operation; its caller gets the error
        pending.error = exc
    return pending.error is None or connection.total_changes == changes


def _repeat_without_failed(connection: sqlite3.Connection, group: list[_Pending]) -> None:
    """Undo a half-done operation: roll back and run the others of the group anew."""
    half_done = True
    while half_done:
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        half_done = not all(_attempt(connection, each) for each in group if each.error is None)


def _unavailable(cause: Exception) -> StorageUnavailable:
    """Return the error callers know; every caller gets one of its own."""
    error = StorageUnavailable(f"the database did not take the write: {cause}")
    error.__cause__ = cause
    return error


def _settle(group: list[_Pending]) -> None:
    """Hand results to their futures with one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Pending]] = {}
    for each in group:
        by_loop.setdefault(each.loop, []).append(each)
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, settled)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits for these.
            log.debug("storage_result_unclaimed", extra={"operations": len(settled)})


def _resolve(settled: list[_Pending]) -> None:
    for each in settled:
        if each.future.done():
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.result)
