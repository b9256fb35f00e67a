"""``token-keys.json``: the keys of tokens in standalone's data directory, for their owner's eyes."""

import fcntl
import os
import secrets
from pathlib import Path

from shared.domain.errors import StorageUnavailable

NAME = "token-keys.json"
LOCK = "token-keys.lock"


class TokenKeyFile:
    """The ``TokenKeyStore`` port in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / NAME
        self._lock = data_dir / LOCK

    def read(self) -> str | None:
        """Return them as text, or None if there are none yet.

        Raises:
            StorageUnavailable: the file is there and cannot be read.
        """
        try:
            return self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageUnavailable(f"{self.path} cannot be read: {exc.strerror}") from exc

    def write(self, text: str, *, instead_of: str | None) -> bool:
        """Put the text in place whole and durably; False if something else than ``instead_of`` was there.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        draft = self.path.with_name(f".{NAME}.{secrets.token_hex(8)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The kernel releases the lock however the process ends.
            lock = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.read() != instead_of:
                    return False
                descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                    opened.write(text)
                    opened.flush()
                    # A key that is lost after it signed links makes them lead nowhere.
                    os.fsync(opened.fileno())
                draft.replace(self.path)
                _sync_directory(self.path.parent)
                return True
            finally:
                draft.unlink(missing_ok=True)
                os.close(lock)
        except OSError as exc:
            raise StorageUnavailable(f"{self.path} cannot be written: {exc.strerror}") from exc


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
