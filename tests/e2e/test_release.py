"""What a release consists of, installed as a stranger would: away from the checkout, in a fresh environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

from standalone.demo.tree import environment
from tests.architecture.sources import PACKAGES, ROOT
from tests.e2e.harness import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
START_S = 60.0


def run(*words: str | Path, cwd: Path, **environ: str) -> str:
    """Run a program to its end and return its standard output; a failure shows both."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment({}) | {"PYTHONPATH": ""} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


FOLDERS = (*PACKAGES, "docs", "infra", "localstack", "requirements")
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE")


def copy_of_checkout(to: Path) -> Path:
    """Return a copy of what a release is made of; other tests look at the checkout meanwhile."""
    to.mkdir()
    for name in (*FOLDERS, *FILES):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``make release`` fills."""
    folder = tmp_path_factory.mktemp("release")
    source = copy_of_checkout(tmp_path_factory.mktemp("source") / "edgepost")
    run(source / "infra/release/build.sh", folder, cwd=source, PYTHON=sys.executable, RELEASE_UNTAGGED="yes")
    return folder


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that has the wheel, and a directory to work in."""

    program: Path
    directory: Path

    def settings(self) -> Mapping[str, str]:
        """Return the settings of a tree on free ports."""
        ports = dict.fromkeys(("http_port", "smtp_port", "submission_port", "submissions_port"), "0")
        return environment(ports | {"data_dir": str(self.directory / "data"), "dkim_algorithms": "ed25519"})


@pytest.fixture(scope="module")
def installed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in a fresh environment, with the pinned packages of this one, so that no network is needed."""
    home = tmp_path_factory.mktemp("opt") / f"edgepost-{VERSION}"
    venv.create(home, with_pip=False, symlinks=True)
    site = next((home / "lib").glob("python3.*/site-packages"))
    for name in pinned(release / f"edgepost-{VERSION}-requirements.txt"):
        link_distribution(name, site)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", home / "bin" / "python")
    run(*pip, "install", "--no-index", "--no-deps", release / f"edgepost-{VERSION}-py3-none-any.whl", cwd=home)
    # Everything that the wheel asks for is there, in a version that it takes.
    run(*pip, "check", cwd=home)
    return Installed(home / "bin" / "edgepost", tmp_path_factory.mktemp("elsewhere"))


def pinned(requirements: Path) -> Iterator[str]:
    """Yield the names that are pinned for this system."""
    for name, marker in re.findall(r"^([\w.-]+)==\S+(?: ; (.*?))? \\$", requirements.read_text(), re.MULTILINE):
        if "win32'" not in marker or "!=" in marker:
            yield name


def link_distribution(name: str, site: Path) -> None:
    """Make an installed distribution appear in another environment as well."""
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))))


class TestRelease:
    def test_has_what_the_guide_installs(self, release: Path) -> None:
        """docs/install.md names these files."""
        assert sorted(file.name for file in release.iterdir()) == [
            f"edgepost-{VERSION}-py3-none-any.whl",
            f"edgepost-{VERSION}-requirements.txt",
            f"edgepost-{VERSION}.sha256",
            f"edgepost-{VERSION}.tar.gz",
        ]
        assert run("sha256sum", "--check", f"edgepost-{VERSION}.sha256", cwd=release).count(": OK\n") == 3

    def test_wheel_has_every_file_of_the_program(self, release: Path) -> None:
        """A template or a module that was left out is missed only on somebody's server."""
        with zipfile.ZipFile(release / f"edgepost-{VERSION}-py3-none-any.whl") as wheel:
            packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        ours = {
            str(file.relative_to(ROOT))
            for package in PACKAGES
            for file in (ROOT / package).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }

        assert packed == ours

    def test_source_has_what_the_guide_copies(self, release: Path) -> None:
        """Unit, proxies, scripts and pages come with the release, not from a checkout of another day."""
        with tarfile.open(release / f"edgepost-{VERSION}.tar.gz") as source:
            names = {name.partition("/")[2] for name in source.getnames()}

        wanted = {
            str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()
        }
        assert {name for name in wanted if "__pycache__" not in name} <= names

    def test_is_refused_without_its_tag(self, tmp_path: Path) -> None:
        """A version is one commit: what is called 0.1.0 must be what the tag says."""
        source = copy_of_checkout(tmp_path / "source")
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        run("git", "init", "--quiet", cwd=source)
        run("git", "add", "--all", cwd=source)
        run("git", *who, "commit", "--quiet", "--message", "all", cwd=source)

        done = subprocess.run(
            [source / "infra/release/build.sh", tmp_path / "dist"],
            env=os.environ | {"PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert f"does not have the tag v{VERSION}" in done.stderr
        assert not (tmp_path / "dist").exists()


class TestWheel:
    def test_knows_its_version(self, installed: Installed) -> None:
        """The first thing that anybody asks for in a report."""
        assert run(installed.program, "version", cwd=installed.directory).strip() == VERSION

    def test_serves_away_from_the_checkout(self, installed: Installed) -> None:
        """All parts start from what was installed, not from files that only a developer has."""
        serving = subprocess.Popen(
            [installed.program, "serve"],
            cwd=installed.directory,
            env=installed.settings() | {"PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with serving:
            try:
                assert serving.stdout
                ready = serving.stdout.readline()
                health = run(installed.program, "health", "--json", cwd=installed.directory, **installed.settings())
                parts = [is_from(installed, pid) for pid in parts_of(serving.pid)]
            finally:
                serving.terminate()
            _, log = serving.communicate(timeout=START_S)

        assert ready.startswith("Edgepost is ready: http on port "), log
        assert json.loads(health) == {"health": "OK"}
        assert parts == [True] * 4
        assert serving.returncode == 0, log


def parts_of(supervisor: int) -> list[int]:
    """Return the parts' process ids."""
    return until(
        lambda: [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()],
        "the parts to run",
        timeout_s=START_S,
    )


def is_from(installed: Installed, pid: int) -> bool:
    """Tell whether a process runs the environment's Python and was given no other place to import from."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return words[0].startswith(str(installed.program.parent)) and "PYTHONPATH=" in environ
