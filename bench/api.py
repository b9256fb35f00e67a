"""The send API: through the whole tree to the sink, and by itself without a network."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import measure
from load import Sink
from standalone.demo.mx import SmallMX
from standalone.demo.sending import API
from standalone.demo.tree import Tree, command, environment

CONNECTIONS = 16
IDLE_MESSAGES = 100
ARRIVAL_S = 60.0

MESSAGE = {
    "to": [measure.RECIPIENT],
    "from": measure.SENDER,
    "subject": "Your order has shipped",
    "plain_body": "Lorem ipsum dolor sit amet, consectetur adipiscing elit sed do eius\n" * 70,
}


def _settings(port: int) -> Mapping[str, str]:
    return {
        "first_domain": "example.com",
        "smart_host": f"smtp://127.0.0.1:{port}?tls=none",
        "allow_networks": "smtp:127.0.0.0/8",
    }


async def _post_all(port: int, request: bytes, count: int) -> None:
    """Send the same request so often over connections kept alive, as a busy application does."""
    numbers = iter(range(count))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in numbers:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            if b'"success"' not in body:
                raise RuntimeError(f"the API answered {body[:300]!r}")
        writer.close()

    await asyncio.gather(*[connection() for _ in range(CONNECTIONS)])


def _request(key: str) -> bytes:
    body = json.dumps(MESSAGE).encode()
    head = (
        f"POST /api/v1/send/message HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"X-Server-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _throughput(directory: Path) -> list[str]:
    accepted, delivered, cpu = [], [], []
    home = directory / "api"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with Sink(home) as sink, Tree(home / "data", _settings(sink.port)) as tree:
        request = _request(tree.secrets()["api_key"])
        asyncio.run(_post_all(tree.ports["http"], request, 200))
        for _ in range(measure.ROUNDS):
            count = sink.settled()
            before, started = measure.session_cpu_s(tree.pid), time.perf_counter()
            asyncio.run(_post_all(tree.ports["http"], request, measure.MESSAGES))
            accepted.append(measure.MESSAGES / (time.perf_counter() - started))
            deadline = time.perf_counter() + ARRIVAL_S
            while sink.count() < count + measure.MESSAGES and time.perf_counter() < deadline:
                time.sleep(0.005)
            delivered.append((sink.count() - count) / (time.perf_counter() - started))
            sink.settled()
            cpu.append((measure.session_cpu_s(tree.pid) - before) / measure.MESSAGES * 1e6)
    return [
        f"API in → 250 at the sink, {CONNECTIONS} connections, both signatures",
        (
            f"{measure.middle(accepted):,.0f} accepted/s, {measure.middle(delivered):,.0f} delivered/s,"
            f" {measure.middle(cpu):,.0f} µs CPU/message"
        ),
        "≥ 300/s",
    ]


def _latency(directory: Path) -> list[str]:
    home = directory / "latency"
    shutil.rmtree(home, ignore_errors=True)
    times = []
    with SmallMX() as mx, Tree(home / "data", _settings(mx.port)) as tree:
        api = API(tree.url, tree.secrets()["api_key"])
        for number in range(IDLE_MESSAGES):
            recipient = f"user{number}@dest.test"
            started = time.perf_counter()
            api.send(MESSAGE | {"to": [recipient]})
            accepted = time.perf_counter()
            mx.wait_for(frozenset([recipient]), 1, timeout_s=ARRIVAL_S)
            times.append((time.perf_counter() - accepted, time.perf_counter() - started))
    after_accept, whole = ([each[which] * 1000 for each in times] for which in (0, 1))
    return [
        "accept → mail at the MX, idle",
        (
            f"p50 {measure.percentile(after_accept, 50):.0f} ms, p99 {measure.percentile(after_accept, 99):.0f} ms"
            f" after the answer; p50 {measure.percentile(whole, 50):.0f} ms from the request"
        ),
        "p50 ≤ 50 ms",
    ]


def _in_process(directory: Path) -> list[str]:
    home = directory / "in-process"
    shutil.rmtree(home, ignore_errors=True)
    root = Path(__file__).resolve().parents[1]
    settings = environment({"data_dir": str(home / "data"), "first_domain": "example.com"}) | {"PYTHONPATH": str(root)}
    made = subprocess.run(command("initialize", "--json"), env=settings, check=True, capture_output=True).stdout
    script = [sys.executable, str(root / "bench/in_process.py"), json.loads(made)["api_key"], json.dumps(MESSAGE)]
    found = json.loads(subprocess.run(script, env=settings, check=True, capture_output=True).stdout)
    return [
        "send API in process, without a network, 1 recipient, 5 KB",
        f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms",
        "p50 ≤ 5 ms, p99 ≤ 25 ms",
    ]


def run(directory: Path) -> str:
    """Measure all three and return the table."""
    rows = [_throughput(directory), _latency(directory), _in_process(directory)]
    return measure.table(["send API", "measured", "goal"], rows)
