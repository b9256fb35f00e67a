"""Makes the package of one function: its own files, what it imports of ours, and its pinned requirements.

``sam build`` calls it through make (``infra/build.mk``)::

    python infra/package.py events /tmp/package --python 3.13 --architecture arm64

What goes in is found by reading the imports, lazy ones included, from
what Lambda starts on; adapters of the standalone shape stay out.  boto3 and
what it needs stay out too: Lambda's Python runtimes have them
(requirements/NAME.txt is locked without them, see ``make lock``).
"""

import argparse
import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("functions", "shared")

ELSEWHERE = ("shared.adapters.embedded",)
"""Modules that a function imports only in the standalone shape."""

OPENING_SECRETS = ("shared.adapters.keyring", "shared.adapters.aws.master_key")
"""Modules that open stored secrets.  Most functions' roles may not read the master key: these stay out of packages."""

OPENERS = ("functions.inbound", "functions.webhooks")
"""Who opens secrets all the same: what signs for an endpoint."""

WHEEL_NAMES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Lambda's names of architectures, and those of wheels (PEP 600)."""

UNUSED = ("bin", "zstandard/_cffi*")
"""What packages bring that no function uses: their commands, and zstandard's second engine, which is for PyPy."""

HOST = "host"
"""Stands for the machine and the Python that build: an emulator runs functions with these."""


def modules(start: str, root: Path = ROOT) -> set[str]:
    """Return the modules of ours that ``start`` needs, itself and the packages around them included."""
    found: set[str] = set()
    left_out = ELSEWHERE if _is_within(start, OPENERS) else (*ELSEWHERE, *OPENING_SECRETS)
    waiting = [start]
    while waiting:
        module = _module(waiting.pop(), root)
        if module is None or module in found or _is_within(module, left_out):
            continue
        found.add(module)
        waiting += [parent for parent in [module.rpartition(".")[0]] if parent]
        waiting += imports(_file(module, root))
    return found


def third_party(start: str, root: Path = ROOT) -> set[str]:
    """Return the top-level names of what ``start`` and the modules it needs import from elsewhere."""
    names = {name.partition(".")[0] for module in modules(start, root) for name in imports(_file(module, root))}
    return {name for name in names if name not in OURS and name not in sys.stdlib_module_names}


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports at run time, wherever in the file; ``from a import b`` yields ``a.b``."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), str(path))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The linter forbids relative imports: the module is always given.
            yield from (f"{node.module}.{each.name}" for each in node.names)
        else:
            waiting += ast.iter_child_nodes(node)


def _module(name: str, root: Path) -> str | None:
    """Return the module of ours that a dotted name means; the name may end with something inside of it."""
    if name.partition(".")[0] not in OURS:
        return None
    while not _file(name, root).exists():
        name = name.rpartition(".")[0]
    return name


def _file(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_within(module: str, packages: Sequence[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def entry_point(function: str, root: Path = ROOT) -> str:
    """Return the module that Lambda starts: ``entry`` where there is one, else ``handler``."""
    entry = f"functions.{function}.entry"
    return entry if _file(entry, root).exists() else f"functions.{function}.handler"


def copy_modules(function: str, target: Path) -> None:
    """Copy the function's modules into the package."""
    for module in sorted(modules(entry_point(function))):
        source = _file(module, ROOT)
        place = target / source.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def pip_command(function: str, target: Path, *, python: str, architecture: str) -> list[str]:
    """Return the command that puts the pinned requirements into the package; it runs none of their code.

    Wheels of manylinux2014 need glibc 2.17, which every runtime has; those of
    manylinux_2_28 run on Amazon Linux 2023, which runtimes have from Python 3.12 on.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command += ["--no-deps", "--require-hashes", "--no-compile", "--only-binary=:all:", "--target", str(target)]
    if architecture != HOST:
        newest = ["manylinux_2_28"] if tuple(map(int, python.split("."))) >= (3, 12) else []
        for glibc in [*newest, "manylinux2014"]:
            command += ["--platform", f"{glibc}_{WHEEL_NAMES[architecture]}"]
        command += ["--implementation", "cp", "--python-version", python]
    return [*command, "--requirement", str(ROOT / "requirements" / f"{function}.txt")]


def remove_unused(target: Path) -> None:
    """Remove what requirements bring for others."""
    for found in [path for pattern in UNUSED for path in target.glob(pattern)]:
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()


def interpreter(python: str, architecture: str) -> str | None:
    """Return a Python of the version that will run the package, or None if this machine has none."""
    if architecture == HOST or python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    command = shutil.which(f"python{python}")
    # A name on the path may be no more than a note of what could be installed, as pyenv's are.
    works = command and subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603
    return command if works else None


def compile_modules(target: Path, command: str) -> None:
    """Put byte code beside every module.

    Lambda cannot: its folder is read-only, so each cold start would compile
    everything again (measured for the API: 2.1 s instead of 0.5 s of imports).
    The byte code holds a hash of its source that nobody checks, because zip files
    change the times that Python would look at (PEP 552).
    """
    words = [command, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(target)]
    # A Python of this machine compiles our own files.
    subprocess.run(words, check=True)  # noqa: S603


def main(arguments: Sequence[str]) -> int:
    """Make the package; the target folder must be new or empty."""
    parser = argparse.ArgumentParser(prog="package.py", description="Makes the package of one function.")
    parser.add_argument("function", help="a folder below functions/")
    parser.add_argument("target", type=Path)
    parser.add_argument("--python", required=True, help="such as 3.13")
    parser.add_argument("--architecture", required=True, choices=[*WHEEL_NAMES, HOST])
    given = parser.parse_args(arguments)
    copy_modules(given.function, given.target)
    # What links of mail lead to (pixel, redirect, unsubscribe) needs nothing beyond the standard library.
    if (ROOT / "requirements" / f"{given.function}.txt").exists():
        pip = pip_command(given.function, given.target, python=given.python, architecture=given.architecture)
        # Its own pip; S603 asks whether the words are ours, and they are.
        failed = subprocess.run(pip, check=False).returncode  # noqa: S603
        if failed:
            return failed
    remove_unused(given.target)
    if command := interpreter(given.python, given.architecture):
        compile_modules(given.target, command)
    else:
        sys.stderr.write(f"no python{given.python} here: {given.function} is not compiled and will start slowly\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
