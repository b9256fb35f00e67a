"""Relay: SMTP in, durable queue, DKIM with RSA-2048, SMTP out; Edgepost beside its peers in the same rounds."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import measure
import peers
from load import Relayed, Sink, relay
from parts import part_pids
from standalone.demo.tree import Tree

SESSIONS = 20
WARM_UP = 300
"""Messages sent before anything is counted: V8 compiles, pools fill."""


@contextlib.contextmanager
def edgepost(directory: Path, name: str, sink_port: int, algorithms: str) -> Iterator[tuple[int, list[int]]]:
    """Run the whole tree on fresh data; yields its port 25 and the session whose CPU counts."""
    home = directory / name
    shutil.rmtree(home, ignore_errors=True)
    settings = {
        "first_domain": "example.com",
        "dkim_algorithms": algorithms,
        "smart_host": f"smtp://127.0.0.1:{sink_port}?tls=none",
        "allow_networks": "smtp:127.0.0.0/8",
    }
    with Tree(home / "data", settings) as tree:
        server = tree.secrets()["server"]["permalink"]
        tree.run("credential", "create", "--server", server, "--type", "SMTP-IP", "--network", "127.0.0.0/8")
        yield tree.ports["smtp"], [tree.pid, *sessions_below(tree.pid)]


def sessions_below(pid: int) -> list[int]:
    """Return the sessions that children of a process have made for themselves."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and int(fields[3]) == int(entry.name):
                found.append(int(entry.name))
    return found


def run(directory: Path) -> str:
    """Measure all relays in interleaved rounds and return the table, with what could not be run below it."""
    file = directory / "message.txt"
    file.write_bytes(measure.message())
    results: dict[str, list[Relayed]] = {}
    notes: list[str] = []
    with contextlib.ExitStack() as running:
        sink = running.enter_context(Sink(directory))
        contenders = {
            "Edgepost, RSA": edgepost(directory, "rsa", sink.port, "rsa"),
            "Edgepost, RSA and Ed25519": edgepost(directory, "dual", sink.port, "rsa,ed25519"),
            "Postfix + opendkim, RSA": peers.postfix(directory, sink.port),
            "Haraka + dkim, RSA": peers.haraka(directory, sink.port),
        }
        started = {}
        for name, contender in contenders.items():
            try:
                started[name] = running.enter_context(contender)
            except peers.Missing as exc:
                notes.append(f"{name}: left out, {exc}.")
        for port, groups in started.values():
            relay(sink, port, count=WARM_UP, sessions=SESSIONS, file=file, groups=groups)
        supervisor = started["Edgepost, RSA"][1][0]
        before = _cpu_by_part(supervisor)
        for number in range(measure.ROUNDS):
            turns = list(started.items())
            # Each takes another place in every round: the first one starts beside what the last one leaves behind.
            for name, (port, groups) in turns[number % len(turns) :] + turns[: number % len(turns)]:
                count = measure.MESSAGES if name.startswith("Edgepost") else measure.MESSAGES // 2
                got = relay(sink, port, count=count, sessions=SESSIONS, file=file, groups=groups)
                print(f"  {name}: {got.delivered_per_s:.0f}/s, {got.cpu_us:.0f} us", flush=True)
                results.setdefault(name, []).append(got)
        used = {name: cpu - before[name] for name, cpu in _cpu_by_part(supervisor).items()}
    sent = measure.ROUNDS * measure.MESSAGES
    by_part = ", ".join(f"{name} {cpu / sent * 1e6:,.0f}" for name, cpu in sorted(used.items()))
    return "\n".join([_table(results), "", f"CPU µs/message of Edgepost, RSA, by part: {by_part}.", *notes])


def _cpu_by_part(supervisor: int) -> dict[str, float]:
    return {name: measure.process_cpu_s(pid) for name, pid in part_pids(supervisor).items()}


def _table(results: dict[str, list[Relayed]]) -> str:
    ours = measure.middle([each.delivered_per_s for each in results["Edgepost, RSA"]])
    rows = []
    for name, rounds in results.items():
        delivered = measure.middle([each.delivered_per_s for each in rounds])
        rows.append(
            [
                name,
                f"{measure.middle([each.accepted_per_s for each in rounds]):,.0f}",
                f"{delivered:,.0f}",
                f"{measure.middle([each.cpu_us for each in rounds]):,.0f}",
                str(sum(max(0, each.missing) for each in rounds)),
                f"{ours / delivered:.2f}",
            ]
        )
    head = [
        "relay, 5 KB, 20 sessions",
        "accepted/s",
        "delivered/s",
        "CPU µs/message",
        "missing",
        "Edgepost RSA is × as fast",
    ]
    return measure.table(head, rows)
