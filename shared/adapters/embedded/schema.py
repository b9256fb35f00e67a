"""The database file: its tables, its pragmas, and how a connection is opened.

Durability (https://www.sqlite.org/pragma.html#pragma_synchronous): in WAL mode
a commit has reached the operating system before it returns, so killing the
process loses nothing; ``full`` also asks the disk, so power failure loses
nothing either.
"""

import os
import sqlite3
from pathlib import Path
from typing import Literal, TypeAlias

from shared.domain.errors import StorageUnavailable

Durability: TypeAlias = Literal["normal", "full"]

SCHEMA_VERSION = 1

_PAGE_SIZE_BYTES = 8192
_BUSY_TIMEOUT_S = 10.0
_CACHED_STATEMENTS = 256
_CACHE_KIB = 16_384
_WAL_LIMIT_BYTES = 64 * 1024 * 1024

# Ready messages wait in the order of groups for the round robin, the others in
# the order in which they become visible; a message is in one index only.  Both
# hold all that choosing and counting read (`ready` too, else SQLite looks into
# the table for it).
_TABLES = (
    """CREATE TABLE records(
        partition TEXT NOT NULL, sort TEXT NOT NULL, data TEXT NOT NULL, expires_at INTEGER,
        PRIMARY KEY(partition, sort)) WITHOUT ROWID""",
    "CREATE INDEX records_expiry ON records(expires_at) WHERE expires_at IS NOT NULL",
    # AUTOINCREMENT: an id must never be given twice, because receipts are made of it.
    """CREATE TABLE messages(
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, grp TEXT NOT NULL, body TEXT NOT NULL,
        ready INTEGER NOT NULL, visible_at INTEGER NOT NULL, receives INTEGER NOT NULL, sent_at INTEGER NOT NULL)""",
    "CREATE INDEX messages_ready ON messages(queue, grp, id, ready) WHERE ready = 1",
    "CREATE INDEX messages_waiting ON messages(queue, visible_at, receives, ready) WHERE ready = 0",
    """CREATE TABLE bodies(
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, digest BLOB NOT NULL,
        data BLOB, file TEXT, expires_at INTEGER NOT NULL)""",
    "CREATE INDEX bodies_expiry ON bodies(expires_at)",
    # Every file below bodies/, from before it is written until after it is gone.
    "CREATE TABLE body_files(file TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX body_files_expiry ON body_files(expires_at)",
)


def create_file(path: Path) -> None:
    """Make the file, readable by its owner only, unless it is there; it holds mail."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def open_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """Return a connection for writing, the tables made; the caller holds the write lock.

    Raises:
        StorageUnavailable: a newer Edgepost made the file.
        sqlite3.Error: the file cannot be opened.
    """
    connection = _connect(path)
    try:
        connection.execute(f"PRAGMA page_size={_PAGE_SIZE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
        # Zeroing deleted rows where it costs no extra write is enough.
        connection.execute("PRAGMA secure_delete=FAST")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = _connect(path)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StorageUnavailable(
            f"{path} has schema version {version}; this Edgepost knows versions up to {SCHEMA_VERSION}:"
            " start the newer Edgepost that wrote it, or restore a backup"
        )
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")
