"""The shipped unit, judged by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.settings import Settings
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


class TestEnvironment:
    def test_sample_starts(self) -> None:
        """Copied as it stands, with other names in it, it must pass the checks of every start."""
        lines = (UNITS / "edgepost.env").read_text().splitlines()
        found = Settings.from_env(dict(line.split("=", 1) for line in lines if line and not line.startswith("#")))

        assert (found.smtp_port, found.submission_port, found.submissions_port) == (25, 587, 465)
        assert found.durability == "full"

    def test_data_lies_where_the_unit_may_write(self) -> None:
        """With ProtectSystem=strict any other directory fails at the start."""
        text = (UNITS / "edgepost.service").read_text()

        assert "StateDirectory=edgepost\n" in text
        assert "EDGEPOST_DATA_DIR=/var/lib/edgepost\n" in (UNITS / "edgepost.env").read_text()
