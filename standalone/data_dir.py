"""The data directory of a running installation: writable, and held by one ``serve`` only."""

import fcntl
import os
import shutil
from pathlib import Path

from standalone.starting import CannotStart

LOCK = "serve.lock"


def prepare(data_dir: Path) -> None:
    """Make the directory if it is missing, and check that files can be made in it.

    Raises:
        CannotStart: it cannot be made or written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = data_dir / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as exc:
        raise CannotStart(
            f"Cannot write to the data directory {data_dir.absolute()}: {exc.strerror}. Make it writable for this "
            "user, or choose another with EDGEPOST_DATA_DIR"
        ) from exc


class DataDirLock:
    """Held from start to end, so that two ``serve`` never work on one directory.

    The kernel releases it however the process ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it.

        Raises:
            CannotStart: another process holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise CannotStart(
                f"Another `edgepost serve` (process {holder or 'unknown'}) already runs on the data directory "
                f"{self._path.parent.absolute()}. Stop it first, or choose another with EDGEPOST_DATA_DIR"
            ) from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back.  Twice: nothing more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def fresh_run_dir(data_dir: Path) -> Path:
    """Return an empty directory for what lives only as long as this start: figures and states of parts.

    Raises:
        CannotStart: it cannot be made.
    """
    run = data_dir / "run"
    try:
        shutil.rmtree(run, ignore_errors=True)
        (run / "metrics").mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise CannotStart(f"Cannot make {run.absolute()}: {exc.strerror}") from exc
    return run
