"""What ordinary mail at port 25 notices of attackers beside it, and what memory they cost."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import measure
from attackers import ATTACKS
from inbound import RETURN_PATH_DOMAIN, ZONE, edgepost, mail
from parts import part_pids
from standalone.demo.dns import SmallDNS
from standalone.demo.tree import Tree

SESSIONS = 4
COUNT = measure.MESSAGES // 5
CHOSEN = os.environ.get("BENCH_ATTACKS", "")
"""Only attacks with this in their name."""

WARM_UP_S = 1.0
SAMPLE_S = 0.05


class Peak(threading.Thread):
    """Watches the resident memory of a process while it is entered."""

    def __init__(self, pid: str) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ending = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        """Look again and again."""
        while not self._ending.wait(SAMPLE_S):
            self.megabytes = max(self.megabytes, measure.resident_mb(self._pid))

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ending.set()
        self.join()


@contextlib.contextmanager
def _attacked(port: int, name: str, return_path: str) -> Iterator[None]:
    command = [sys.executable, str(Path(__file__).with_name("attackers.py")), str(port), name, return_path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(WARM_UP_S)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the attackers with {name} gave up: their recipient was refused")
    finally:
        process.kill()
        process.wait()


def _times(port: int, file: Path) -> list[float]:
    """Return the milliseconds that each ordinary mail took."""
    sender = Path(__file__).with_name("sender.py")
    command = [sys.executable, str(sender), str(port), str(SESSIONS), str(COUNT), str(file)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [each * 1000 for each in found["each"]]


def _return_path(tree: Tree) -> str:
    """Return the address of the server's return path, which anybody may write to."""
    server = tree.secrets()["server"]["permalink"]
    return f"{tree.run('server', 'show', server)['token']}@{RETURN_PATH_DOMAIN}"


def run(directory: Path) -> str:
    """Measure all attacks and return the table."""
    file = directory / "bombs.txt"
    file.write_bytes(mail(4000))
    quiet: list[float] = []
    attacked: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    beside: dict[str, list[float]] = {}
    with SmallDNS(ZONE) as dns, edgepost(directory, "normal", dns.port) as tree:
        port, return_path = tree.ports["smtp"], _return_path(tree)
        pid = part_pids(tree.pid)["receive"]
        _times(port, file)
        for _ in range(measure.ROUNDS):
            for name in [each for each in ATTACKS if CHOSEN in each]:
                with Peak(pid) as before:
                    turn = _times(port, file)
                quiet += turn
                beside.setdefault(name, []).extend(turn)
                with _attacked(port, name, return_path), Peak(pid) as peak:
                    attacked.setdefault(name, []).extend(_times(port, file))
                peaks[name] = max(peaks.get(name, 0), peak.megabytes)
                p50, p99 = (measure.percentile(attacked[name], percent) for percent in (50, 99))
                ratios = [p50 / measure.percentile(beside[name], 50), p99 / measure.percentile(beside[name], 99)]
                memory = f"{before.megabytes:.0f}, then {peak.megabytes:.0f} MB"
                print(f"  {name}: p50 x {ratios[0]:.1f}, p99 {p99:.0f} ms, x {ratios[1]:.1f}, {memory}", flush=True)
                time.sleep(WARM_UP_S)
    rows = [["nothing", f"{measure.percentile(quiet, 50):.1f}", f"{measure.percentile(quiet, 99):.1f}", "1.0", ""]]
    for name, times in attacked.items():
        ratio = measure.percentile(times, 99) / measure.percentile(beside[name], 99)
        p50, p99 = (f"{measure.percentile(times, percent):.1f}" for percent in (50, 99))
        rows.append([name, p50, p99, f"{ratio:.1f}", f"{peaks[name]:,.0f}"])
    head = ["an ordinary mail beside", "p50 ms", "p99 ms", "p99 ×", "receive, MB at most"]
    return measure.table(head, rows)
