"""Webhooks: what a dead endpoint costs another one, and what five endpoints cost the mail."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import measure
from load import Sink, relay
from standalone.demo.sending import API
from standalone.demo.tree import Tree

PACE_PER_S = 10
SECONDS = 40
"""A dead endpoint is noticed after five requests of 30 s; most of this time lies before that."""

ENDPOINTS = 5
CATCH_UP_S = 60.0
SIMULATED = "delivered@simulator.edgepost.invalid"


@dataclass
class Receiver:
    """A receiver that runs; ``delays_s`` has what it has noted so far."""

    url: str
    delays_s: list[float] = field(default_factory=list)


@contextlib.contextmanager
def receiver(kind: str, *, niceness: int = 0) -> Iterator[Receiver]:
    """Run a receiver that answers, or one that hangs."""
    words = ["nice", "-n", str(niceness), sys.executable, str(Path(__file__).with_name("receiver.py")), kind]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        lines = process.stdout
        made = Receiver(f"http://127.0.0.1:{int(lines.readline())}/")
        threading.Thread(target=lambda: made.delays_s.extend(float(line) for line in lines), daemon=True).start()
        try:
            yield made
        finally:
            process.kill()


@contextlib.contextmanager
def edgepost(directory: Path, name: str, urls: list[str], **settings: str) -> Iterator[Tree]:
    """Run the whole tree on fresh data, with these endpoints."""
    home = directory / name
    shutil.rmtree(home, ignore_errors=True)
    with Tree(home / "data", {"first_domain": "example.com", "dkim_algorithms": "rsa"} | settings) as tree:
        server = tree.secrets()["server"]["permalink"]
        for url in urls:
            tree.run("webhook", "create", "--server", server, "--url", url)
        yield tree


def isolation(directory: Path) -> str:
    """Measure how long events take to a healthy endpoint, beside a healthy one and beside one that hangs."""
    rows = []
    found: dict[str, float] = {}
    for other in ("answer", "hang"):
        with contextlib.ExitStack() as running:
            healthy = running.enter_context(receiver("answer"))
            beside = running.enter_context(receiver(other))
            urls = [healthy.url, beside.url]
            tree = running.enter_context(edgepost(directory, other, urls, allow_networks="http:127.0.0.0/8"))
            api = API(tree.url, tree.secrets()["api_key"])
            began = time.perf_counter()
            for number in range(PACE_PER_S * SECONDS):
                time.sleep(max(0.0, began + number / PACE_PER_S - time.perf_counter()))
                api.send({"to": [SIMULATED], "from": measure.SENDER, "subject": "Bench", "plain_body": "x"})
            wanted = 2 * PACE_PER_S * SECONDS
            until = time.monotonic() + CATCH_UP_S
            while len(healthy.delays_s) < wanted and time.monotonic() < until:
                time.sleep(0.1)
            found[other] = measure.percentile(healthy.delays_s, 95)
            label = {"answer": "a healthy one", "hang": "one that hangs"}[other]
            ms = [f"{measure.percentile(healthy.delays_s, each) * 1000:,.0f}" for each in (50, 95, 99)]
            rows.append([label, *ms, str(wanted - len(healthy.delays_s)), f"{found[other] / found['answer']:.2f}"])
            print(f"  beside {label}: p95 {ms[1]} ms", flush=True)
    head = [f"events at {2 * PACE_PER_S}/s to an endpoint beside", "p50 ms", "p95 ms", "p99 ms", "missing", "p95 ×"]
    return measure.table(head, rows)


def throughput(directory: Path) -> str:
    """Measure the relay without endpoints and with five that are told of everything."""
    file = directory / "message.txt"
    file.write_bytes(measure.message())
    results: dict[int, list[float]] = {0: [], ENDPOINTS: []}
    caught_up: list[float] = []
    with contextlib.ExitStack() as running:
        sink = running.enter_context(Sink(directory))
        settings = {"smart_host": f"smtp://127.0.0.1:{sink.port}?tls=none", "allow_networks": "127.0.0.0/8"}
        # They stand for other people's machines: they take only what is left of this one.
        receivers = [running.enter_context(receiver("answer", niceness=19)) for _ in range(ENDPOINTS)]
        trees = {
            0: running.enter_context(edgepost(directory, "none", [], **settings)),
            ENDPOINTS: running.enter_context(edgepost(directory, "five", [each.url for each in receivers], **settings)),
        }
        for tree in trees.values():
            server = tree.secrets()["server"]["permalink"]
            tree.run("credential", "create", "--server", server, "--type", "SMTP-IP", "--network", "127.0.0.0/8")
            relay(sink, tree.ports["smtp"], count=200, sessions=20, file=file, groups=[tree.pid])
        told = _settled(receivers, 0)
        for _ in range(measure.ROUNDS):
            for count, tree in trees.items():
                got = relay(sink, tree.ports["smtp"], count=measure.MESSAGES, sessions=20, file=file, groups=[tree.pid])
                results[count].append(got.delivered_per_s)
                print(f"  {count} endpoints: {got.delivered_per_s:.0f}/s", flush=True)
                if count:
                    told += 2 * measure.MESSAGES * ENDPOINTS
                    began = time.monotonic()
                    _settled(receivers, told)
                    caught_up.append(time.monotonic() - began)
        missing = told - sum(len(each.delays_s) for each in receivers)
    without = measure.middle(results[0])
    rows = [
        [str(count), f"{measure.middle(rates):,.0f}", f"{measure.middle(rates) / without:.0%}"]
        for count, rates in results.items()
    ]
    table = measure.table(["endpoints, two events a message", "delivered/s", "of none"], rows)
    return f"{table}\n\nAfter each round webhooks had caught up within {max(caught_up):.1f} s; missing: {missing}."


def _settled(receivers: list[Receiver], wanted: int) -> int:
    """Wait until so many events have come, or none comes any more; return how many."""
    until = time.monotonic() + CATCH_UP_S
    before = -1
    while time.monotonic() < until:
        now = sum(len(each.delays_s) for each in receivers)
        if (wanted and now >= wanted) or (not wanted and now == before):
            return now
        before = now
        time.sleep(0.1 if wanted else 2)
    return sum(len(each.delays_s) for each in receivers)


def run(directory: Path) -> str:
    """Measure both and return the tables."""
    return "\n\n".join([throughput(directory), isolation(directory)])


if __name__ == "__main__":
    measure.DIRECTORY.mkdir(parents=True, exist_ok=True)
    print(run(measure.DIRECTORY))
