"""What is installed: everything that is imported is declared, and everything is pinned with hashes."""

import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, imports, python_files

REQUIREMENTS = ROOT / "requirements"
PRODUCT = ("api", "events", "inbound", "scheduled", "node", "webhooks", "standalone")
TOOLS = ("ministack", "sam")
"""Each in a virtual environment of its own."""

LOCKS = (*PRODUCT, "dev", *TOOLS)


def normal(name: str) -> str:
    """Return a distribution's name as all spellings of it are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*names: str) -> set[str]:
    """Return the distributions that requirements/NAME.in ask for."""
    lines = [line for name in names for line in (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines()]
    return {normal(found[0]) for line in lines if (found := re.match(r"[A-Za-z0-9._-]+", line))}


def pinned(name: str) -> dict[str, str]:
    """Return the version of each distribution in requirements/NAME.txt."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    return {normal(found[1]): found[2] for found in re.finditer(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def third_party(path: Path) -> set[str]:
    """Return the top-level modules that a file imports from installed packages."""
    tops = {module.split(".")[0] for module in imports(path)}
    return {top for top in tops if top not in sys.stdlib_module_names and top not in PACKAGES}


class TestImports:
    def test_the_product_imports_only_what_it_declares(self) -> None:
        """`make run` installs no test packages: what works beside them may fail without."""
        homes = packages_distributions()
        asked_for = declared(*PRODUCT)

        undeclared = [
            f"{path}: {module}"
            for path in python_files(*PACKAGES)
            for module in third_party(path)
            if not asked_for & {normal(home) for home in homes.get(module, [])}
        ]

        assert undeclared == []


class TestLockFiles:
    @pytest.mark.parametrize("name", LOCKS)
    def test_pin_all_that_is_declared(self, name: str) -> None:
        """A package added to a list and not to its lock would be missing on every other machine."""
        wanted = {"standalone": PRODUCT, "dev": (*PRODUCT, "dev")}

        assert declared(*wanted.get(name, (name,))) <= set(pinned(name))

    @pytest.mark.parametrize("name", PRODUCT)
    def test_agree_on_versions(self, name: str) -> None:
        """What is tested together is what each deployable gets."""
        tested = pinned("dev")

        assert {package: tested.get(package) for package in pinned(name)} == pinned(name)

    @pytest.mark.parametrize("name", LOCKS)
    def test_have_a_hash_for_each_package(self, name: str) -> None:
        """Pip refuses a lock in which one hash is missing, and a package that was changed later."""
        text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
        blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]

        assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []

    def test_name_no_place_to_download_from(self) -> None:
        """Where packages come from is each machine's own setting: a mirror must work as well."""
        named = [
            path.name
            for path in sorted(REQUIREMENTS.iterdir())
            if re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", path.read_text(encoding="utf-8"))
        ]

        assert named == []
