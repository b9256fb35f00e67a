"""Who may import whom: the contracts of pyproject.toml hold, and each one catches what it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, imports, is_within, python_files

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"

SMALL_FUNCTIONS = ("functions/pixel", "functions/redirect", "functions/unsubscribe", "functions/edge")
"""Their cold start is a contract: no third-party module, and of ours only the tokens."""

VIOLATIONS = {
    "cli > standalone > functions | smtp_node > shared": ("shared/flow/a.py", "import smtp_node.node"),
    "Inside shared every file has its layer": ("shared/extra.py", ""),
    "Adapters know no mail: neither store nor flow": ("shared/adapters/b.py", "import shared.store"),
    "Only wiring.py files name adapters": ("smtp_node/deliver/c.py", "import shared.adapters.clock"),
    "Functions never import each other; edge is the kit of three, outward of two": (
        "functions/events/d.py",
        "import functions.api.x",
    ),
    "Receive and deliver meet only through the queue": ("smtp_node/receive/e.py", "import smtp_node.deliver.c"),
    "Authentication and scan serve receive and deliver, and know neither": (
        "smtp_node/scan/f.py",
        "import smtp_node.receive.e",
    ),
    "The command line reaches functions and nodes through their wiring": ("cli/g.py", "import functions.api.x"),
    "aiosmtpd lives in smtp_node.receive": ("smtp_node/h.py", "import aiosmtpd.smtp"),
    "aiosmtplib lives in smtp_node.deliver": ("smtp_node/receive/i.py", "import aiosmtplib"),
    "dkimpy lives in smtp_node.authentication; the demo verifies with it": ("shared/domain/j.py", "import dkim"),
    "pyspf and publicsuffixlist live in smtp_node.authentication": ("smtp_node/receive/n.py", "import spf"),
    "dnspython lives in shared.adapters; the demo serves a zone with it": ("smtp_node/k.py", "import dns.resolver"),
    "The AWS libraries live in shared.adapters.aws": ("shared/adapters/l.py", "import boto3"),
    "Powertools for AWS Lambda live in functions.telemetry and functions.batch": (
        "functions/api/n.py",
        "import aws_lambda_powertools",
    ),
    "aiohttp lives in shared.adapters; the node asks rspamd with it": ("shared/flow/http.py", "import aiohttp"),
    "SQLite lives in shared.adapters.embedded": ("shared/store/m.py", "import sqlite3"),
}
"""For each contract, one file that breaks it."""

PERMITTED = {
    "functions/pixel/handler.py": "import functions.edge.reply",
    "functions/events/wiring.py": "import shared.adapters.clock",
    "functions/events/entry.py": "import functions.telemetry",
    "functions/webhooks/wiring.py": "import functions.outward.wiring",
    "functions/events/handler.py": "import functions.batch",
    "functions/telemetry.py": "import aws_lambda_powertools",
    "smtp_node/deliver/client.py": "import aiosmtplib, smtp_node.authentication.f, smtp_node.scan.x",
    "smtp_node/scan/rspamd.py": "import aiohttp",
    "standalone/demo/tour.py": "import dkim, dns.resolver",
    "cli/serve.py": "import standalone.serve, smtp_node.wiring",
}
"""What no contract may object to."""


EXPECTED = {
    *(f"{package}/x.py" for package in PACKAGES if package != "shared"),
    *(f"shared/{folder}/x.py" for folder in ("adapters", "domain", "flow", "store")),
    *(f"shared/{name}.py" for name in ("ports", "settings", "smart_host", "setting_values", "adapters/clock")),
    *(f"smtp_node/{name}.py" for name in ("node", "wiring", "receive/x", "deliver/x", "authentication/f", "scan/x")),
    *("functions/api/x.py", "functions/edge/reply.py", "functions/outward/wiring.py", "standalone/serve.py"),
}
"""Modules that the contracts and the files above name; empty unless given."""


def write_tree(root: Path, files: dict[str, str]) -> None:
    """Make packages with these files and the expected ones."""
    wanted = set(files) | EXPECTED
    for name in sorted(wanted):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{files.get(name, '')}\n", encoding="utf-8")
    for folder in {path.parent for path in root.rglob("*.py")}:
        for each in (folder, *folder.parents):
            if each != root and each.is_relative_to(root):
                (each / "__init__.py").touch()
    (root / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")


def lint_imports(root: Path) -> tuple[int, str]:
    """Return the exit status and the output of import-linter in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


class TestContracts:
    def test_hold_for_this_repository(self) -> None:
        """Layers on paper rot; layers in a test hold."""
        status, output = lint_imports(ROOT)

        assert status == 0, output

    def test_each_catches_what_it_is_for(self, tmp_path: Path) -> None:
        """A contract that cannot break protects nothing."""
        write_tree(tmp_path, dict(VIOLATIONS.values()))

        _, output = lint_imports(tmp_path)

        kept = [name for name in VIOLATIONS if f"{name} BROKEN" not in output]
        assert not kept, output

    def test_let_through_what_is_permitted(self, tmp_path: Path) -> None:
        """A contract that forbids too much gets switched off."""
        write_tree(tmp_path, PERMITTED)

        status, output = lint_imports(tmp_path)

        assert status == 0, output


def beyond_standard_library(root: Path = ROOT) -> list[str]:
    """Name each import of the small functions that their cold start cannot afford."""
    files = python_files(*SMALL_FUNCTIONS, root=root)
    files += [path for path in python_files("shared", root=root) if path == Path("shared/tokens.py")]
    return [
        f"{path}: {module}"
        for path in files
        for module in imports(path, root)
        if module.split(".")[0] not in sys.stdlib_module_names
        and not is_within(module, "shared.tokens", "functions.edge", ".".join(path.parts[:2]))
    ]


class TestSmallFunctions:
    def test_import_only_the_standard_library_tokens_and_their_kit(self) -> None:
        """Every further module is paid for by somebody who waits for a pixel."""
        assert beyond_standard_library() == []

    @pytest.mark.parametrize("line", ["import fastapi", "from shared import settings", "import functions.api.x"])
    def test_anything_else_is_noticed(self, tmp_path: Path, line: str) -> None:
        """The check must see third-party, shared and foreign modules alike, wherever they stand."""
        folder = tmp_path / "functions/pixel"
        folder.mkdir(parents=True)
        (folder / "handler.py").write_text(f"def handler():\n    {line}\n", encoding="utf-8")

        assert len(beyond_standard_library(tmp_path)) == 1


class TestSMTPNode:
    @pytest.mark.parametrize("side", ["receive", "deliver"])
    def test_a_side_takes_only_authentication_and_scan_from_the_node(self, side: str) -> None:
        """What both sides need of the node are these two; all else is shared/ or their own."""
        strangers = [
            f"{path}: {module}"
            for path in python_files(f"smtp_node/{side}")
            for module in imports(path)
            if is_within(module, "smtp_node")
            and not is_within(module, f"smtp_node.{side}", "smtp_node.authentication", "smtp_node.scan")
        ]

        assert strangers == []
