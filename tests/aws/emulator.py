"""MiniStack for tests: its own process on a free loopback port, with a clock that a test can move.

A file of eight bytes holds how far its clock is ahead, so that waiting for a visibility of
thirty seconds takes no time: ``emulator_clock.py`` puts it behind ``time.time`` before
MiniStack is loaded.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".venv-ministack" / "bin" / "python"

REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "edgeposttest",
    "AWS_SECRET_ACCESS_KEY": "edgeposttest",
    "AWS_DEFAULT_REGION": REGION,
}
START_S = 60.0


class Emulator:
    """A running MiniStack."""

    def __init__(self, endpoint: str, offset_file: Path) -> None:
        self.endpoint = endpoint
        self._offset_file = offset_file

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the AWS SDK finds it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def now(self) -> datetime:
        """Return the moment that its clock shows."""
        return datetime.fromtimestamp(time.time() + self._ahead_s(), UTC)

    def advance(self, span: timedelta) -> None:
        """Move its clock on."""
        self._write(self._ahead_s() + span.total_seconds())

    def reset(self) -> None:
        """Forget everything; its clock is right again."""
        self._write(0.0)
        request = urllib.request.Request(f"{self.endpoint}/_ministack/reset", method="POST")  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            pass

    def _ahead_s(self) -> float:
        (ahead_s,) = struct.unpack("d", self._offset_file.read_bytes())
        return float(ahead_s)

    def _write(self, ahead_s: float) -> None:
        # In place: the emulator has the file mapped.
        with self._offset_file.open("r+b") as file:
            file.write(struct.pack("d", ahead_s))


@contextlib.contextmanager
def emulator(directory: Path) -> Iterator[Emulator]:
    """Run MiniStack until the end of the block; what it keeps lies in the directory."""
    if not PYTHON.exists():
        raise RuntimeError("MiniStack is not installed: `make .venv-ministack/.installed` does it")
    port = free_port()
    offset_file = directory / "clock"
    offset_file.write_bytes(struct.pack("d", 0.0))
    with (directory / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("emulator_clock.py")), str(offset_file)],
            env={
                # Those of its root, so that it can check what they have signed.
                **CREDENTIALS,
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "GATEWAY_PORT": str(port),
                "BIND_HOST": "127.0.0.1",
                "STATE_DIR": str(directory / "state"),
                "S3_DATA_DIR": str(directory / "s3"),
                "LOG_LEVEL": "WARNING",
            },
            cwd=directory,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _wait_for(endpoint, process, directory / "ministack.log")
            yield Emulator(endpoint, offset_file)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=5):  # noqa: S310  # loopback
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"MiniStack did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
