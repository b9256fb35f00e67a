"""Sizes, CPU time of process groups, and medians: what all benchmarks share."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "1500"))
RECORDS = int(os.environ.get("BENCH_RECORDS", "10000000"))
SUPPRESSED = int(os.environ.get("BENCH_SUPPRESSED", "1000000"))
QUEUED = int(os.environ.get("BENCH_QUEUED", "1000000"))
DIRECTORY = Path(os.environ.get("EDGEPOST_BENCH_DIR", os.environ.get("TMPDIR", "/tmp") + "/edgepost-bench"))

SENDER = "app@example.com"
RECIPIENT = "user@dest.test"


def message(size_bytes: int = 5000) -> bytes:
    """Return the message that every relay carries, with LF line ends as smtp-source wants it."""
    head = [
        f"From: App <{SENDER}>",
        f"To: {RECIPIENT}",
        "Subject: Your order has shipped",
        "Date: Sun, 22 Nov 2026 07:14:19 +0000",
        "Message-ID: <bench@example.com>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "",
    ]
    text = "\n".join(head)
    line = "Lorem ipsum dolor sit amet, consectetur adipiscing elit sed do eius\n"
    return (text + line * ((size_bytes - len(text)) // len(line) + 1)).encode()


def session_cpu_s(session: int) -> float:
    """Return the CPU time that all processes of a session have used, ended children included.

    Daemons that make a session of their own must be asked for by their own id.
    """
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It ended while we looked; its parent has its time.
        # proc(5): after the command's name come state, ppid, pgrp, session; utime, stime, cutime, cstime are 11-14.
        if int(fields[3]) == session:
            total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def process_cpu_s(pid: str) -> float:
    """Return the CPU time that one process has used."""
    fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / TICKS_PER_S


def resident_mb(pid: str) -> float:
    """Return the memory that a process holds."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc", pid, "status").read_text())[0]) / 1024


def machine() -> str:
    """Return a line on the machine: processor, cores, memory, system, Python."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024 + 1
    return (
        f"{os.cpu_count()} cores {model}, {memory} GB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def rate(work: Callable[[], int]) -> float:
    """Return how many things a second the work did; it says how many it did."""
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile, the nearest value that is not below it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
