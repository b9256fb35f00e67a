"""This repository's own Python files, and what stands in them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("cli", "functions", "shared", "smtp_node", "standalone")


def python_files(*folders: str, root: Path = ROOT) -> list[Path]:
    """Return the Python files below these folders, as paths from the root; a missing folder has none."""
    found = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sorted(path.relative_to(root) for path in found if "node_modules" not in path.parts)


def parse(path: Path, root: Path = ROOT) -> ast.Module:
    """Return the syntax tree of a file, its path given from the root."""
    return ast.parse((root / path).read_text(encoding="utf-8"), str(path))


def imports(path: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield each module that a file imports, wherever in the file; relative ones made absolute.

    ``from a.b import c`` yields ``a.b.c``: c may be a module too.
    """
    package = path.with_suffix("").parts[:-1]
    for node in ast.walk(parse(path, root)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (start, node.module) if part)
            yield from (f"{module}.{each.name}" for each in node.names)


def is_within(module: str, *allowed: str) -> bool:
    """Tell whether a module is one of these or below one of them."""
    return any(module == each or module.startswith(f"{each}.") for each in allowed)
