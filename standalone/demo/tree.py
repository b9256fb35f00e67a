"""Edgepost's own processes, started for a while in a directory of their own.

The tour, the end-to-end tests and the benchmarks all start it here, as a user
would: ``edgepost serve`` with settings in the environment.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

READY_S = 60.0
STOP_S = 40.0
POLL_S = 0.02


class TreeFailed(Exception):
    """The processes did not start, or did not end; the text has the end of their output."""


def command(*arguments: str) -> Sequence[str]:
    """Return how to run an ``edgepost`` command in this virtual environment."""
    script = Path(sys.executable).with_name("edgepost")
    if script.exists():
        return [str(script), *arguments]
    return [sys.executable, "-c", "from cli.main import main; main()", *arguments]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment with these settings in place of all its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPOST_")}
    return kept | {f"EDGEPOST_{name.upper()}": value for name, value in settings.items()}


class Tree:
    """``edgepost serve`` on free ports as one process group; a context manager that leaves nothing running.

    Args:
        data_dir: where its files go; kept at the end, it is the caller's.
        settings: field names of ``Settings`` and their texts, besides ports and directory.
        runs: the command, ``serve`` or ``node``.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str], *, runs: str = "serve") -> None:
        self.data_dir = data_dir
        self._runs = runs
        self.log = data_dir.with_name(data_dir.name + ".log")
        """What the processes wrote, over all starts."""

        ports = {"http_port": "0", "smtp_port": "0", "submission_port": "0", "submissions_port": "0"}
        self.environment = environment(ports | dict(settings) | {"data_dir": str(data_dir)})
        """Of every process that belongs to it."""

        self._process: subprocess.Popen[bytes] | None = None
        self.ports: Mapping[str, int] = {}

    def __enter__(self) -> Self:
        """Start and wait until it is ready."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything that still runs."""
        self.kill()

    @property
    def pid(self) -> int:
        """The supervisor's process id, which is also its group's; 0 when it does not run."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start on the same data as before, if any, and wait until ``/health`` answers 200.

        Raises:
            TreeFailed: it ended, or was not ready within a minute.
        """
        ports_file = self.data_dir / "ports.json"
        ports_file.unlink(missing_ok=True)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own command, made above
                command(self._runs),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not (ports_file.exists() and self._healthy(ports_file)):
            if self._process.poll() is not None:
                raise TreeFailed(
                    f"edgepost {self._runs} ended with status {self._process.returncode}:\n{self.log_end()}"
                )
            if time.monotonic() > deadline:
                raise TreeFailed(f"edgepost {self._runs} was not ready within {READY_S:.0f} s:\n{self.log_end()}")
            time.sleep(POLL_S)

    def _healthy(self, ports_file: Path) -> bool:
        try:
            self.ports = json.loads(ports_file.read_text())
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310  # loopback
                return bool(answer.status == 200)
        except (OSError, ValueError, KeyError):
            return False

    @property
    def url(self) -> str:
        """Where its HTTP port is, without a final slash."""
        return f"http://127.0.0.1:{self.ports['http']}"

    def kill(self) -> None:
        """Kill -9 the whole group at once, if it runs, and return when it is gone."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._process = None

    def stop(self) -> int:
        """Ask it to end (SIGTERM), wait until it has, and return its exit status.

        Raises:
            TreeFailed: it did not end within the time that draining may take.
        """
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired as exc:
            raise TreeFailed(f"edgepost {self._runs} did not end within {STOP_S:.0f} s:\n{self.log_end()}") from exc
        self._process = None
        return status

    def run(self, *arguments: str) -> Any:  # noqa: ANN401  # whatever JSON the command prints
        """Run a command with ``--json`` on the same data and return its document.

        Raises:
            TreeFailed: it ended with an error.
        """
        done = subprocess.run(  # noqa: S603  # our own command
            command(*arguments, "--json"), env=self.environment, capture_output=True, check=False, timeout=READY_S
        )
        if done.returncode:
            raise TreeFailed(f"edgepost {' '.join(arguments)}: {(done.stderr or done.stdout).decode()}")
        return json.loads(done.stdout)

    def secrets(self) -> dict[str, Any]:
        """Return what the first start wrote: API key, SMTP login, server, domain."""
        found: dict[str, Any] = json.loads((self.data_dir / "first-run.json").read_text())
        return found

    def log_end(self) -> str:
        """Return the last lines of what the processes wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
