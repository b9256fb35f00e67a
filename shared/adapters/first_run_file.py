"""``first-run.json``: the secrets of a first start, for their owner's eyes, and the lock around making them."""

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from shared.domain.errors import StorageUnavailable

NAME = "first-run.json"
LOCK = "initialize.lock"


class FirstRunFile:
    """The ``SecretsFile`` port in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / NAME
        self._lock = data_dir / LOCK

    def read(self) -> str | None:
        """Return its text, or None if there is none.

        Raises:
            StorageUnavailable: it is there and cannot be read.
        """
        try:
            return self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageUnavailable(f"{self.path} cannot be read: {exc.strerror}") from exc

    def write(self, content: str) -> None:
        """Put the text in place whole or not at all, readable by its owner only, and on the disk.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        draft = self.path.with_name(f".{NAME}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(opened.fileno())
                draft.replace(self.path)
            finally:
                draft.unlink(missing_ok=True)
            self._sync_directory()
        except OSError as exc:
            raise StorageUnavailable(f"{self.path} cannot be written: {exc.strerror}") from exc

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the data directory's lock for first starts; others wait.

        The kernel releases it however the process ends.

        Raises:
            StorageUnavailable: the lock cannot be made.
        """
        try:
            descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StorageUnavailable(f"{self._lock} cannot be made: {exc.strerror}") from exc
        try:
            await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
