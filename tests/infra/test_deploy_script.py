"""localstack/deploy.sh: how it starts the emulator; the rest of it is run by tests/e2e/test_deploy_local.py."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

AROUND = """
set -euo pipefail
note() { :; }
fail() { echo "$*" >&2; exit 1; }
make() { :; }
answers() { [[ -e seen ]]; }
state=state
"""
"""What the function uses, with nothing behind it."""


def environment_of_ministack(directory: Path, **given: str) -> dict[str, str]:
    """Run the script's own function with a program in MiniStack's place, and return the environment it got."""
    script = (ROOT / "localstack" / "deploy.sh").read_text()
    function = re.search(r"^start_ministack\(\) \{\n.*?^\}\n", script, re.MULTILINE | re.DOTALL)
    assert function is not None
    program = directory / ".venv-ministack" / "bin" / "ministack"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nenv >found && mv found seen\n")
    program.chmod(0o755)
    subprocess.run(
        ["bash", "-c", f"{AROUND}{function[0]}start_ministack"],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "AWS_ENDPOINT_URL": "http://127.0.0.1:4599", "EDGEPOST_STACK": "mine", **given},
        check=True,
        capture_output=True,
        timeout=60,
    )
    lines = (directory / "seen").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


class TestStartMiniStack:
    def test_functions_call_the_emulator_itself(self, tmp_path: Path) -> None:
        """They inherit its environment: with an empty endpoint, which is one, they would call AWS."""
        found = environment_of_ministack(tmp_path)

        assert "AWS_ENDPOINT_URL" not in found
        assert found["GATEWAY_PORT"] == "4599"

    def test_functions_call_what_they_are_told_to(self, tmp_path: Path) -> None:
        """A proxy between them and the emulator, in tests."""
        found = environment_of_ministack(tmp_path, FUNCTIONS_ENDPOINT_URL="http://127.0.0.1:4600")

        assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4600"

    @pytest.mark.parametrize("name", ["EDGEPOST_STACK", "EDGEPOST_BACKEND"])
    def test_functions_get_no_settings_of_the_caller(self, tmp_path: Path, name: str) -> None:
        """They would not start with both these and the stack's."""
        assert name not in environment_of_ministack(tmp_path, **{name: "x"})
