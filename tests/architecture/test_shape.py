"""The shape of files: sizes, names, and the few things that only some of them may do."""

import ast
import re

import pytest

from tests.architecture.sources import PACKAGES, ROOT, parse, python_files

MOST_LINES = 400

NAMELESS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "base", "misc"}
"""Names that say nothing; what a file holds has a name of its own."""

CATCH_ALL = {
    "smtp_node/receive/session.py": "the SMTP session hook: an unexpected failure answers 451, never 5yz",
    "smtp_node/deliver/jobs.py": "the worker loop: one job must not stop the node",
    "standalone/consumers.py": "the worker loop of standalone: one batch must not stop the process",
    "shared/adapters/embedded/writer.py": "the writer thread's loop: hands each error to the caller whose it is",
    "functions/batch.py": "the Lambda batch loop: reports the failed item and goes on",
    "smtp_node/deliver/tracking/safely.py": "links are an extra: a fault in them must not lose the message",
}
"""Files that may catch ``Exception``, and why; each logs the traceback and goes on."""


def catches_all(tree: ast.Module) -> list[int]:
    """Return the lines that catch everything and do not raise it again."""
    broad = {"Exception", "BaseException"}

    def is_broad(kind: ast.expr | None) -> bool:
        if isinstance(kind, ast.Tuple):
            return any(is_broad(each) for each in kind.elts)
        return kind is None or (isinstance(kind, ast.Name) and kind.id in broad)

    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [each.lineno for each in handlers if is_broad(each.type) and not raises_again(each)]


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler only tidies up: its last line is a bare ``raise``."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def reads_environment_at_import(tree: ast.Module) -> list[int]:
    """Return the lines outside of functions that look into the environment."""
    lines: list[int] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        waiting += [] if inside else list(ast.iter_child_nodes(node))
        looked_at = node.value if isinstance(node, ast.Subscript) else node.func if isinstance(node, ast.Call) else None
        if looked_at is not None and re.match(r"os\.(environ|getenv)\b", ast.unparse(looked_at)):
            lines.append(node.lineno)
    return lines


class TestFiles:
    def test_none_is_longer_than_400_lines(self) -> None:
        """A file is one idea; at 400 lines there are two."""
        long = {
            str(path): lines
            for path in python_files(*PACKAGES, "tests", "docs", "bench")
            if (lines := len((ROOT / path).read_text(encoding="utf-8").splitlines())) > MOST_LINES
        }

        assert long == {}

    def test_names_say_what_is_inside(self) -> None:
        """A file called utils grows without end, because everything fits its name."""
        nameless = [str(path) for path in python_files(*PACKAGES, "tests") if NAMELESS & {path.stem, *path.parts[:-1]}]

        assert nameless == []

    def test_init_files_are_empty(self) -> None:
        """Importing a package must cost nothing and pull in nothing."""
        full = [
            str(path)
            for path in python_files(*PACKAGES, "tests")
            if path.name == "__init__.py" and (ROOT / path).stat().st_size
        ]

        assert full == []

    def test_every_module_lies_in_a_package(self) -> None:
        """The import contracts see only packages: a folder without __init__.py escapes them."""
        homeless = {
            str(path.parent) for path in python_files(*PACKAGES) if not (ROOT / path.parent / "__init__.py").exists()
        }

        assert homeless == set()


class TestCatchAll:
    def test_only_the_three_loops_catch_everything(self) -> None:
        """A failure that nobody foresaw must be seen by somebody, except where a loop has to go on."""
        found = [
            f"{path}:{line}"
            for path in python_files(*PACKAGES)
            if str(path) not in CATCH_ALL
            for line in catches_all(parse(path))
        ]

        assert found == []

    @pytest.mark.parametrize("kind", ["", " Exception", " (ValueError, Exception)", " BaseException as exc"])
    def test_every_form_is_noticed(self, kind: str) -> None:
        """A bare except is as broad as a named one."""
        assert catches_all(ast.parse(f"try:\n    pass\nexcept{kind}:\n    pass")) == [3]

    def test_tidying_up_is_allowed(self) -> None:
        """What is raised again is hidden from nobody."""
        assert catches_all(ast.parse("try:\n    pass\nexcept BaseException:\n    close()\n    raise")) == []


class TestEnvironment:
    def test_nobody_reads_it_at_import(self) -> None:
        """Settings are read once, in wiring: importing a module must not depend on where it runs."""
        found = [
            f"{path}:{line}" for path in python_files(*PACKAGES) for line in reads_environment_at_import(parse(path))
        ]

        assert found == []

    def test_reading_in_a_function_is_allowed(self) -> None:
        """The check is about import time only."""
        assert reads_environment_at_import(ast.parse("def f():\n    return os.environ['A']")) == []
        assert reads_environment_at_import(ast.parse("A = os.environ.get('A')")) == [1]
        assert reads_environment_at_import(ast.parse("class C:\n    a = os.environ['A']")) == [2]
