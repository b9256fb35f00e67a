"""Bodies on SQLite: small ones in a table, large ones in files, all compressed.

A file gets a name of its own, which ``body_files`` knows before the file is
begun and until it is gone; the row in ``bodies`` that points to it is written
last.  So no reader sees half a file, and whatever a crash leaves behind is
found and removed by ``prune``.
"""

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from shared.adapters.body_codec import BodyCodec
from shared.adapters.embedded.store import SQLiteStore
from shared.domain.errors import StorageUnavailable
from shared.domain.moments import to_ms

OFF_LOOP_BYTES = 65_536
"""Larger bodies are compressed and expanded in a thread, so that the event loop goes on."""

FILE_BYTES = 131_072
"""Bodies that are larger when compressed go into files."""

_UNFINISHED_FILE_LIVES = timedelta(hours=1)
_PRUNED_IN_ONE_STEP = 50

GET = "SELECT size, digest, data, file FROM bodies WHERE key = ? AND expires_at > ?"
PUT = (
    "INSERT INTO bodies(key, size, digest, data, file, expires_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT(key) DO UPDATE SET size = excluded.size, digest = excluded.digest, data = excluded.data,"
    " file = excluded.file, expires_at = excluded.expires_at"
)
FILE_OF = "SELECT file FROM bodies WHERE key = ? AND file IS NOT NULL"
DELETE = "DELETE FROM bodies WHERE key = ?"
BEGIN_FILE = "INSERT INTO body_files(file, expires_at) VALUES (?, ?)"
DATE_FILE = "UPDATE body_files SET expires_at = ? WHERE file = ?"
END_FILE = "DELETE FROM body_files WHERE file = ?"
EXPIRED_FILES = (
    "SELECT file FROM body_files INDEXED BY body_files_expiry WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
)
PRUNE = (
    "DELETE FROM bodies WHERE id IN (SELECT id FROM bodies INDEXED BY bodies_expiry WHERE expires_at <= ?"
    " ORDER BY expires_at LIMIT ?)"
)


class SQLiteBodies:
    """``Bodies`` in a database file and a directory ``bodies`` beside it; see ``shared.ports``."""

    def __init__(self, store: SQLiteStore, clock: Callable[[], datetime]) -> None:
        """Use the store; the clock decides what has expired."""
        self._store = store
        self._clock = clock
        self._codec = BodyCodec()
        self._directory = store.path.parent / "bodies"

    async def put(self, key: str, raw: bytes, *, expires_at: datetime) -> None:
        """Store the bytes durably; a repeat replaces them by the same."""
        data, digest, file = await self._stored(raw)
        expires_ms = to_ms(expires_at)

        def operation(connection: sqlite3.Connection) -> None:
            _abandon_file(connection, key)
            connection.execute(PUT, (key, len(raw), digest, data, file, expires_ms))
            if file is not None:
                connection.execute(DATE_FILE, (expires_ms, file))

        await self._store.write(operation)

    async def _stored(self, raw: bytes) -> tuple[bytes | None, bytes, str | None]:
        """Return the compressed bytes for the row and the digest, or instead of the bytes the file that has them."""
        if len(raw) <= OFF_LOOP_BYTES:
            packed = self._codec.pack(raw)
            return packed.data, packed.digest, None
        blocks = self._codec.pack_in_blocks(raw)
        begun, digest = await asyncio.to_thread(lambda: (_up_to(FILE_BYTES, blocks), self._codec.digest(raw)))
        if sum(map(len, begun)) <= FILE_BYTES:
            return b"".join(begun), digest, None
        return None, digest, await self._write_file(chain(begun, blocks))

    async def get(self, key: str) -> bytes | None:
        """Return exactly the bytes that were put, or None if gone or expired."""
        row = self._row(key)
        if row is None:
            return None
        size, digest, data, file = row
        if file is not None:
            return await self._read_file(key, size, digest, file)
        if data is None:
            return None
        if size > OFF_LOOP_BYTES:
            return await asyncio.to_thread(self._codec.unpack, data, size, digest)
        return self._codec.unpack(data, size, digest)

    async def delete(self, key: str) -> None:
        """Remove the bytes, wherever they are."""

        def operation(connection: sqlite3.Connection) -> str | None:
            file = _abandon_file(connection, key)
            connection.execute(DELETE, (key,))
            return file

        file = await self._store.write(operation)
        if file is not None:
            await self._remove_file(file)

    async def prune(self, now: datetime, limit: int) -> int:
        """Remove up to ``limit`` bodies that expired by now, and abandoned files; return how many of both."""
        removed = 0
        while removed < limit:
            step = min(_PRUNED_IN_ONE_STEP, limit - removed)
            parameters = (to_ms(now), step)
            files = self._store.select(EXPIRED_FILES, parameters)
            for (file,) in files:
                await self._remove_file(file)
            gone = await self._store.execute(PRUNE, parameters)
            removed += gone + len(files)
            if gone < step and len(files) < step:
                break
        return removed

    def _row(self, key: str) -> tuple[int, bytes, bytes | None, str | None] | None:
        rows = self._store.select(GET, (key, to_ms(self._clock())))
        return rows[0] if rows else None

    async def _write_file(self, blocks: Iterable[bytes]) -> str:
        """Write a new file and return its name; it counts only once a row of ``bodies`` names it."""
        file = uuid.uuid4().hex
        due_ms = to_ms(self._clock() + _UNFINISHED_FILE_LIVES)
        await self._store.execute(BEGIN_FILE, (file, due_ms))
        try:
            await asyncio.to_thread(_write, self._path(file), blocks, sync=self._store.durability == "full")
        except OSError as exc:
            raise StorageUnavailable(f"a body could not be written: {exc}") from exc
        return file

    async def _read_file(self, key: str, size: int, digest: bytes, file: str) -> bytes | None:
        """Return the body in the file, or None if it was removed meanwhile."""

        def read() -> bytes:
            with self._path(file).open("rb", buffering=0) as opened:
                return self._codec.unpack_file(opened, size, digest)

        try:
            return await asyncio.to_thread(read)
        except FileNotFoundError as exc:
            row = self._row(key)
            if row is None:
                return None
            if row[3] is not None and row[3] != file:
                # A second put has replaced the file between the two looks.
                return await self._read_file(key, row[0], row[1], row[3])
            raise StorageUnavailable("the file of a body is missing") from exc
        except OSError as exc:
            raise StorageUnavailable(f"a body could not be read: {exc}") from exc

    async def _remove_file(self, file: str) -> None:
        try:
            await asyncio.to_thread(self._path(file).unlink, missing_ok=True)
        except OSError as exc:
            raise StorageUnavailable(f"a body could not be removed: {exc}") from exc
        await self._store.execute(END_FILE, (file,))

    def _path(self, file: str) -> Path:
        return self._directory / file[:2] / file


def _abandon_file(connection: sqlite3.Connection, key: str) -> str | None:
    """Date the file of the body for removal and return its name, if the body is in a file."""
    rows = connection.execute(FILE_OF, (key,)).fetchall()
    if not rows:
        return None
    file: str = rows[0][0]
    connection.execute(DATE_FILE, (0, file))
    return file


def _up_to(size_bytes: int, blocks: Iterable[bytes]) -> list[bytes]:
    """Return all blocks, or just so many that they are more than the size."""
    taken: list[bytes] = []
    for block in blocks:
        taken.append(block)
        size_bytes -= len(block)
        if size_bytes < 0:
            break
    return taken


def _write(path: Path, blocks: Iterable[bytes], *, sync: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.writelines(blocks)
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except OSError:
        # On a full disk, half a file must not take the room of others until it is pruned.
        path.unlink(missing_ok=True)
        raise
    if sync:
        for directory in (path.parent, path.parent.parent):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
