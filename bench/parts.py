"""What each process of the tree takes: seconds to import, memory when idle."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import measure
from standalone.demo.tree import Tree

MODULES = {
    "http": "functions.api.app",
    "receive": "smtp_node.receive.service",
    "deliver": "smtp_node.deliver.worker",
    "consumers": "functions.events.handler",
    "the command line": "cli.main",
}


def _import_ms(module: str) -> float:
    def once(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - started) * 1000

    bare = measure.middle([once("pass") for _ in range(5)])
    return measure.middle([once(f"import {module}") for _ in range(5)]) - bare


def part_pids(supervisor: int) -> dict[str, str]:
    """Return the process id of each part that the supervisor runs."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) if words else 0
        except OSError:
            continue
        if b"standalone.part" in words and parent == supervisor:
            found[words[words.index(b"standalone.part") + 1].decode()] = entry.name
    return found


def run(directory: Path) -> str:
    """Start the tree, look at its processes, and return the table."""
    home = directory / "parts"
    shutil.rmtree(home, ignore_errors=True)
    with Tree(home / "data", {}) as tree:
        resident = {name: measure.resident_mb(pid) for name, pid in part_pids(tree.pid).items()}
        resident["supervisor"] = measure.resident_mb(str(tree.pid))
    rows = []
    for name in dict.fromkeys([*resident, *MODULES]):
        import_ms = f"{_import_ms(MODULES[name]):,.0f}" if name in MODULES else ""
        rows.append([name, import_ms, f"{resident[name]:,.0f}" if name in resident else ""])
    return measure.table(["part", "import, ms above bare Python", "resident MB when idle"], rows)
