"""Nodes by themselves: the delivery part of standalone, started as the supervisor does, and stopped in every way."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.e2e.harness import Installation


class Node:
    """A process that delivers for an installation; a context manager that leaves nothing running.

    Args:
        installation: whose queue it works on.
        directory: where its figures go.
    """

    def __init__(self, installation: Installation, directory: Path) -> None:
        directory.mkdir()
        self._tree = installation.tree
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        # The node ends when the other end is closed, so none outlives the test.
        self._lifeline, self._held = os.pipe()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()
        os.close(self._lifeline)
        os.close(self._held)

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it works."""
        heard, tell = os.pipe()
        with self._tree.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "standalone.part", "deliver", "standalone.deliver"),
                    *("--lifeline", str(self._lifeline), "--ready", str(tell), "--run-dir", str(self._directory)),
                ],
                env=self._tree.environment | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._lifeline, tell),
            )
        os.close(tell)
        said = os.read(heard, 16)
        os.close(heard)
        assert said, f"the node did not start:\n{self._tree.log_end()}"

    def kill(self) -> float:
        """Kill -9 it, if it runs; return the moment."""
        at = time.time()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None
        return at

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(40)
        self._process = None
        return status


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process for the length of the block: it keeps its connections and knows nothing of the time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
