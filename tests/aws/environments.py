"""The environments of tools that tests drive: .venv-sam and .venv-ministack, made when they are missing."""

import fcntl
import subprocess
from pathlib import Path

from tests.architecture.sources import ROOT
from tests.e2e.programs import missing

MAKING_S = 600


def environment(name: str) -> Path:
    """Return ``.venv-NAME/bin``; skips the test if it is not there and cannot be made (pip needs a network)."""
    with (ROOT / f".venv-{name}.lock").open("w") as lock:
        # Several test processes must not make it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", f".venv-{name}/.installed"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAKING_S,
        )
    if done.returncode:
        missing(f".venv-{name} cannot be made: {done.stderr.strip().splitlines()[-1:]}")
    return ROOT / f".venv-{name}" / "bin"
