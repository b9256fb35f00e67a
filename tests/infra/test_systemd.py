"""The shipped unit, judged by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from standalone.parts import DRAIN
from tests.architecture.sources import ROOT
from tests.e2e.programs import program, run

UNITS = ROOT / "infra/systemd"
PROGRAM = "/opt/edgepost/bin/edgepost"

MOST_EXPOSURE = 20
"""Tenths of systemd's scale, which ends at 100 (unsafe) and calls 20 OK."""


@pytest.fixture(params=["serve", "node"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit as it would lie in /etc/systemd/system, with and without the drop-in, on a program that exists."""
    unit = tmp_path / "edgepost.service"
    unit.write_text((UNITS / "edgepost.service").read_text().replace(PROGRAM, shutil.which("true") or ""))
    if request.param == "node":
        drop_in = tmp_path / "edgepost.service.d" / "node.conf"
        drop_in.parent.mkdir()
        drop_in.write_text((UNITS / "node.conf").read_text().replace(PROGRAM, shutil.which("true") or ""))
    return unit


class TestUnit:
    def test_systemd_takes_it_without_a_warning(self, unit: Path) -> None:
        """A misspelt line is passed over with a warning in the journal, and the protection is not there."""
        words = (program("systemd-analyze"), "verify", "--man=no", str(unit))

        done = subprocess.run(words, capture_output=True, text=True, check=False)

        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_exposes_little(self, unit: Path) -> None:
        """Whoever takes over the process should find nothing that it does not need."""
        run(
            *(program("systemd-analyze"), "security", "--no-pager", "--offline=true"),
            *(f"--threshold={MOST_EXPOSURE}", str(unit)),
        )

    def test_waits_for_the_drain(self) -> None:
        """Systemd must not kill what Edgepost itself still lets finish."""
        text = (UNITS / "edgepost.service").read_text()
        (wait,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)

        assert int(wait) > DRAIN.total_seconds()
        assert "\nKillMode=mixed\n" in text
