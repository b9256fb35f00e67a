"""Port 25: mail for a domain of ours, taken and synced before 250; Edgepost beside its peers in the same rounds."""

import base64
import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mailboxes
import measure
import peers
from parts import part_pids
from relay import sessions_below
from sender import RECIPIENT, SENDER
from standalone.demo.dns import SmallDNS
from standalone.demo.tree import Tree

SESSIONS = 20
WARM_UP = 300
SIZES = {"4 KB": 4000, "100 KB": 100_000}
REST_S = 1.0
"""After each round: what is done after the last 250 belongs to it."""

ZONE = {
    "sender.test": {"TXT": ['"v=spf1 ip4:127.0.0.0/8 -all"']},
    "_dmarc.sender.test": {"TXT": ['"v=DMARC1; p=none"']},
}


RETURN_PATH_DOMAIN = "psrp.example.com"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one round through one host gave."""

    per_s: float
    cpu_us: float
    """For each message, what follows within ``REST_S`` included."""


@contextlib.contextmanager
def edgepost(directory: Path, durability: str, dns_port: int) -> Iterator[Tree]:
    """Run the whole tree on fresh data, with a route that keeps mail."""
    home = directory / f"inbound-{durability}"
    shutil.rmtree(home, ignore_errors=True)
    settings = {
        "first_domain": mailboxes.DOMAIN,
        "durability": durability,
        "dns_servers": f"127.0.0.1:{dns_port}",
        "return_path_domain": RETURN_PATH_DOMAIN,
    }
    with Tree(home / "data", settings) as tree:
        server = tree.secrets()["server"]["permalink"]
        tree.run("route", "create", RECIPIENT, "--server", server, "--mode", "Accept")
        yield tree


@contextlib.contextmanager
def _counted(directory: Path, durability: str, dns_port: int) -> Iterator[tuple[int, list[int]]]:
    with edgepost(directory, durability, dns_port) as tree:
        yield tree.ports["smtp"], [tree.pid, *sessions_below(tree.pid)]


def mail(size_bytes: int) -> bytes:
    """Return a mail of text that compresses by a quarter, as attachments do, without the Message-ID that each gets."""
    text = base64.encodebytes(random.Random(1).randbytes(size_bytes * 57 // 78))
    head = f"From: Ann <{SENDER}>\nTo: {RECIPIENT}\nSubject: Your order\nDate: Sun, 22 Nov 2026 07:14:19 +0000\n\n"
    return (head.encode() + text).replace(b"\n", b"\r\n")


def _send(port: int, file: Path, count: int) -> float:
    """Send copies of a mail over parallel sessions, one a connection; return the seconds it took."""
    command = [sys.executable, str(Path(__file__).with_name("sender.py")), str(port), str(SESSIONS), str(count), file]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["seconds"])


def _round(port: int, groups: Sequence[int], file: Path, count: int) -> Taken:
    cpu = sum(map(measure.session_cpu_s, groups))
    took = _send(port, file, count)
    time.sleep(REST_S)
    return Taken(count / took, (sum(map(measure.session_cpu_s, groups)) - cpu) / count * 1e6)


def run(directory: Path) -> str:
    """Measure all hosts in interleaved rounds and return the table, with what could not be run below it."""
    notes: list[str] = []
    files = {}
    for name, size in SIZES.items():
        files[name] = directory / f"inbound-{size}.txt"
        files[name].write_bytes(mail(size))
    results: dict[tuple[str, str], list[Taken]] = {}
    with contextlib.ExitStack() as running:
        dns = running.enter_context(SmallDNS(ZONE))
        contenders = {
            "Edgepost, synced": _counted(directory, "full", dns.port),
            "Edgepost, not synced": _counted(directory, "normal", dns.port),
            "Postfix, into its queue": mailboxes.postfix(directory, held=True),
            "Postfix, on to a Maildir": mailboxes.postfix(directory, held=False),
            "Haraka, to a file": mailboxes.haraka(directory),
        }
        started = {}
        for name, contender in contenders.items():
            try:
                started[name] = running.enter_context(contender)
            except peers.Missing as exc:
                notes.append(f"{name}: left out, {exc}.")
        for port, _ in started.values():
            _send(port, files["4 KB"], WARM_UP)
        supervisor = started["Edgepost, synced"][1][0]
        before = _cpu_by_part(supervisor)
        for number in range(measure.ROUNDS):
            turns = list(started.items())
            for size, file in files.items():
                count = measure.MESSAGES if size == "4 KB" else measure.MESSAGES // 3
                for name, (port, groups) in turns[number % len(turns) :] + turns[: number % len(turns)]:
                    got = _round(port, groups, file, count)
                    print(f"  {name}, {size}: {got.per_s:.0f}/s, {got.cpu_us:.0f} us", flush=True)
                    results.setdefault((name, size), []).append(got)
        used = {name: cpu - before[name] for name, cpu in _cpu_by_part(supervisor).items()}
    whole = sum(used.values()) or 1
    by_part = ", ".join(f"{name} {cpu / whole:.0%}" for name, cpu in sorted(used.items()))
    return "\n".join([_table(results, list(started)), "", f"CPU of Edgepost, synced, by part: {by_part}.", *notes])


def _cpu_by_part(supervisor: int) -> dict[str, float]:
    return {name: measure.process_cpu_s(pid) for name, pid in part_pids(supervisor).items()}


def _table(results: dict[tuple[str, str], list[Taken]], names: Sequence[str]) -> str:
    def rate(name: str, size: str) -> float:
        return measure.middle([each.per_s for each in results[name, size]])

    rows = []
    for name in names:
        row = [name]
        for size in SIZES:
            cpu = measure.middle([each.cpu_us for each in results[name, size]])
            ratio = rate("Edgepost, synced", size) / rate(name, size)
            row += [f"{rate(name, size):,.0f}", f"{cpu:,.0f}", f"{ratio:.2f}"]
        rows.append(row)
    head = [f"port 25, {SESSIONS} sessions"]
    for size in SIZES:
        head += [f"{size}: accepted/s", "CPU µs/message", "Edgepost is × as fast"]
    return measure.table(head, rows)
