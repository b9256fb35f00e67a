"""What goes into a function's package, before pip adds the requirements."""

import itertools
import re
import runpy
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.architecture.test_dependencies import declared, normal

PACKAGE = runpy.run_path(str(ROOT / "infra" / "package.py"), run_name="package")

FUNCTIONS = sorted(
    path.parent.name
    for path in (ROOT / "functions").glob("*/handler.py")
    if (ROOT / f"requirements/{path.parent.name}.txt").exists()
)

IN_LAMBDA = {"boto3", "botocore"}
"""What Lambda's Python runtimes bring along."""

IN_NO_FUNCTION = {"aiosmtpd", "aiosmtplib", "dkim", "sqlite3", "uvicorn", "typer", "rich"}

CALLERS = {"inbound", "webhooks"}
ONLY_IN_CALLERS = {"aiohttp", "cryptography"}
"""They call hosts that customers name, and sign with opened secrets."""

ASKING_THE_DNS = {"scheduled"} | CALLERS
"""One checks sending domains, the others look up customers' hosts."""

ONLY_STANDALONE = {"uvloop"}
"""Used if it is there (functions/outward/wiring.py)."""

TRACKING = ("pixel", "redirect", "unsubscribe")
TRACKING_FILES, TRACKING_BYTES = 20, 60_000
"""Of our own, before byte code: all that a cold start fetches and imports."""


def modules(function: str) -> set[str]:
    """Return the modules of ours in a function's package."""
    found: set[str] = PACKAGE["modules"](PACKAGE["entry_point"](function))
    return found


class TestModules:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_hold_nothing_of_the_standalone_shape(self, function: str) -> None:
        """A function has no SQLite and no SMTP; it needs none of their libraries either."""
        foreign = set() if function in CALLERS else set(ONLY_IN_CALLERS)
        if function not in ASKING_THE_DNS:
            foreign.add("dns")

        assert {each for each in modules(function) if each.startswith("shared.adapters.embedded")} == set()
        assert PACKAGE["third_party"](PACKAGE["entry_point"](function)) & (IN_NO_FUNCTION | foreign) == set()

    def test_that_open_secrets_are_in_callers_only(self) -> None:
        """No other function's role may read the master key."""
        having = {each for each in (*FUNCTIONS, *TRACKING) if "shared.adapters.keyring" in modules(each)}

        assert having == CALLERS

    @pytest.mark.parametrize("function", TRACKING)
    def test_of_what_mail_leads_to_are_a_handful_of_our_own(self, function: str) -> None:
        """Nothing from elsewhere, and no other function but the kit that the three share."""
        found = modules(function)
        folders = {each.split(".")[1] for each in found if each.startswith("functions.")}
        files = [PACKAGE["_file"](each, ROOT) for each in found]

        assert PACKAGE["third_party"](PACKAGE["entry_point"](function)) == set()
        assert folders == {function, "edge"}
        assert {each for each in found if each.startswith("shared")} == {"shared", "shared.tokens"}
        assert len(files) <= TRACKING_FILES
        assert sum(path.stat().st_size for path in files) <= TRACKING_BYTES

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_hold_no_other_function(self, function: str) -> None:
        """What one function does not run must not be there to be attacked."""
        folders = {each.split(".")[1] for each in modules(function) if each.startswith("functions.")}

        kits = {"outward"} if function in CALLERS else set()
        assert {each for each in folders if (ROOT / "functions" / each).is_dir()} == {function} | kits

    def test_are_found_wherever_they_are_imported(self, tmp_path: Path) -> None:
        """A lazy import that was overlooked would fail on AWS only; one for types alone is not needed there."""
        files = {
            "functions/f/entry.py": "from shared.flow import stage\nfrom typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from shared.flow import types_only\nelse:\n    import shared.flow.other\n",
            "shared/flow/stage.py": "def f():\n    from shared.adapters.aws.opening import open_stores\n",
            "shared/flow/other.py": "",
            "shared/flow/types_only.py": "",
            "shared/adapters/aws/opening.py": "import shared.adapters.embedded.store\nimport pynamodb.models\n",
            "shared/adapters/embedded/store.py": "import sqlite3",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        for folder in {each for path in tmp_path.rglob("*.py") for each in path.parents if each != tmp_path}:
            if folder.is_relative_to(tmp_path):
                (folder / "__init__.py").touch()

        found = PACKAGE["modules"]("functions.f.entry", tmp_path)

        assert {each for each in found if not (tmp_path / each.replace(".", "/")).is_dir()} == {
            "functions.f.entry",
            "shared.flow.stage",
            "shared.flow.other",
            "shared.adapters.aws.opening",
        }
        assert PACKAGE["third_party"]("functions.f.entry", tmp_path) == {"pynamodb"}

    @pytest.mark.parametrize("function", [*FUNCTIONS, *TRACKING])
    def test_are_complete(self, function: str, tmp_path: Path) -> None:
        """The copied files are all that Python finds of ours, and the function's modules load from them."""
        PACKAGE["copy_modules"](function, tmp_path)
        wanted = sorted(each for each in modules(function) if each != PACKAGE["entry_point"](function))
        program = (
            f"import sys; sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in repr(f)]\n"
            f"sys.path.insert(0, {str(tmp_path)!r})\n"
            f"import importlib\n"
            f"for name in {wanted!r}:\n"
            f"    assert importlib.import_module(name).__file__.startswith({str(tmp_path)!r}), name\n"
        )

        done = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr


class TestByteCode:
    def test_is_made_by_the_python_that_will_run_it(self) -> None:
        """Byte code of another version is dead weight."""
        own = f"{sys.version_info.major}.{sys.version_info.minor}"

        assert PACKAGE["interpreter"]("9.9", "host") == sys.executable
        assert PACKAGE["interpreter"](own, "arm64") == sys.executable
        assert PACKAGE["interpreter"]("9.9", "arm64") is None

    def test_is_used_whatever_the_times_of_files(self, tmp_path: Path) -> None:
        """A zip file changes them, and Lambda could not write the new byte code (PEP 552: flags 1 is unchecked)."""
        (tmp_path / "module.py").write_text("VALUE = 1\n")

        PACKAGE["compile_modules"](tmp_path, sys.executable)

        (compiled,) = tmp_path.rglob("*.pyc")
        assert compiled.read_bytes()[4:8] == (1).to_bytes(4, "little")


class TestRequirements:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_are_exactly_what_is_imported(self, function: str) -> None:
        """One that is missing fails on AWS only; one too many is downloaded at every cold start."""
        homes = packages_distributions()
        imported = PACKAGE["third_party"](PACKAGE["entry_point"](function)) - IN_LAMBDA - ONLY_STANDALONE
        needed = {normal(homes[module][0]) for module in imported}

        assert declared(function) == needed

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_leave_out_what_lambda_has(self, function: str) -> None:
        """boto3 and botocore are 25 MB."""
        text = (ROOT / "requirements" / f"{function}.txt").read_text(encoding="utf-8")

        assert {normal(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)} & IN_LAMBDA == set()

    @pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
    @pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
    def test_are_asked_for_as_wheels_of_the_target(self, python: str, architecture: str) -> None:
        """Nothing is compiled: a package built on a laptop is the one that a build server makes."""
        words = PACKAGE["pip_command"]("api", Path("/t"), python=python, architecture=architecture)
        platforms = [word for before, word in itertools.pairwise(words) if before == "--platform"]

        assert "--only-binary=:all:" in words
        assert "--require-hashes" in words
        assert platforms[-1] == {"arm64": "manylinux2014_aarch64", "x86_64": "manylinux2014_x86_64"}[architecture]
        # Python 3.11 runs on Amazon Linux 2, whose glibc is too old for the others.
        assert (len(platforms) == 1) is (python == "3.11")
