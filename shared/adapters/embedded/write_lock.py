"""The lock by which processes take turns to write to one database file.

A waiting process sleeps in the kernel, where SQLite alone would poll on
SQLITE_BUSY.  The kernel frees the locks of a killed process.

There are two files.  Whoever wants to write first locks the turnstile, then the
lock itself, then lets the turnstile go.  With one file, a busy process would
take the lock again before those it woke had run, and keep all others out.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WriteLock:
    """One process at a time holds it, and nobody twice while others wait."""

    def __init__(self, database: Path) -> None:
        """Open, or make, the two files beside the database.

        Raises:
            OSError: they cannot be made.
        """
        self._turnstile = _opened(database.with_name(database.name + ".turn"))
        try:
            self._lock = _opened(database.with_name(database.name + ".lock"))
        except OSError:
            os.close(self._turnstile)
            raise

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it.

        Raises:
            OSError: the kernel has no lock to give.
        """
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files; nothing may be waiting for the lock."""
        os.close(self._lock)
        os.close(self._turnstile)


def _opened(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
