"""One SQLite database file, shared by all embedded adapters of a process.

Reads run on the calling thread, each thread with its own connection: a point
read takes about 10 microseconds, less than handing it to another thread would.  Writes go
through the one ``Writer``.  Several processes may have a store on the same file.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from shared.adapters.embedded.arrivals import Arrivals
from shared.adapters.embedded.schema import Durability, create_file, open_reader, open_writer
from shared.adapters.embedded.writer import Operation, Writer
from shared.domain.errors import StorageUnavailable

T = TypeVar("T")
Parameters: TypeAlias = tuple[str | int | bytes | None, ...]


class SQLiteStore:
    """The database file: reads at once, writes in group commits."""

    def __init__(self, path: Path, *, durability: Durability, background: bool = False) -> None:
        """Name the file; it is opened or made by ``open`` or at first use, after any fork.

        Args:
            path: the database file, usually ``edgepost.db`` in the data directory.
            durability: ``full`` survives a power failure, for an fsync per transaction.
            background: this process may wait: a pause between its transactions makes them fewer.
        """
        self.path = path
        self.durability: Durability = durability
        self.arrivals = Arrivals(self._data_version)
        self._background = background
        self._opening = threading.Lock()
        self._writer: Writer | None = None
        self._pid = 0
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def open(self) -> None:
        """Open or make the file now.  Twice: nothing more.

        Raises:
            StorageUnavailable: it cannot be opened, or a newer Edgepost made it.
        """
        self._running_writer()

    def write(self, operation: Operation[T]) -> "asyncio.Future[T]":
        """Run the operation in the next transaction; awaiting gives its result once committed.

        Raises, when awaited or at once:
            StorageUnavailable: nothing of the operation is known to have happened.
        """
        return self._running_writer().submit(operation)

    def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run a short query on the calling thread; it must fetch all its rows.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        try:
            return operation(self._reader())
        except sqlite3.Error as exc:
            raise StorageUnavailable(f"the database did not answer: {exc}") from exc

    def execute(self, statement: str, parameters: Parameters) -> "asyncio.Future[int]":
        """Run one writing statement like ``write``; gives the number of rows it changed."""
        return self.write(lambda connection: connection.execute(statement, parameters).rowcount)

    def execute_each(self, statement: str, rows: Sequence[Parameters]) -> "asyncio.Future[int]":
        """Run one writing statement for each row of parameters, all in one transaction."""
        return self.write(lambda connection: connection.executemany(statement, rows).rowcount)

    def select(self, statement: str, parameters: Parameters) -> list[Any]:  # a row's types are the statement's
        """Return all rows of a short query, like ``read``."""
        return self.read(lambda connection: connection.execute(statement, parameters).fetchall())

    def close(self) -> None:
        """Commit what is pending and close the file.  Twice: nothing more."""
        with self._opening:
            self._closed = True
            if self._writer is None or self._pid != os.getpid():
                return
            self._writer.close()
            for reader in self._readers:
                reader.close()
            self._readers.clear()

    def _running_writer(self) -> Writer:
        if self._writer is None:
            with self._opening:
                if self._writer is None:
                    self._writer = self._start_writer()
        if self._pid != os.getpid():
            raise RuntimeError("an SQLite store must be opened after the fork, not before")
        return self._writer

    def _start_writer(self) -> Writer:
        if self._closed:
            raise StorageUnavailable("the store is closed")
        try:
            create_file(self.path)
            connect = partial(open_writer, self.path, self.durability)
            writer = Writer(self.path, connect, background=self._background)
        except (sqlite3.Error, OSError) as exc:
            raise StorageUnavailable(f"{self.path} cannot be opened: {exc}") from exc
        self._pid = os.getpid()
        return writer

    def _reader(self) -> sqlite3.Connection:
        self._running_writer()
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is None:
            with self._opening:
                if self._closed:
                    raise StorageUnavailable("the store is closed")
                reader = open_reader(self.path)
                self._readers.append(reader)
                self._local.reader = reader
        return reader

    def _data_version(self) -> int:
        """Return a number that changes with each commit of another connection."""
        version: int = self.select("PRAGMA data_version", ())[0][0]
        return version
