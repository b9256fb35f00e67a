"""The load tools of Postfix: smtp-source sends, smtp-sink counts."""

import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import measure

SETTLE_S = 0.3
DELIVERY_S = 60.0


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int, timeout_s: float = 20.0) -> None:
    """Return once something greets on the port.

    Raises:
        TimeoutError: nothing did.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


class Sink:
    """smtp-sink on a free port, for the whole run: stopped early, it would leave mail deferred at a peer."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._counts = directory / "sink.count"

    def __enter__(self) -> Self:
        with self._counts.open("wb") as output:
            self._process = subprocess.Popen(
                ["smtp-sink", "-c", "-u", "nobody", "-m", "1000", f"127.0.0.1:{self.port}", "1000"],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def count(self) -> int:
        """Return how many messages it has taken so far."""
        with self._counts.open("rb") as counts:
            counts.seek(0, 2)
            counts.seek(max(0, counts.tell() - 200))
            found = re.findall(rb"mesg=(\d+)\s", counts.read().replace(b"\r", b"\r "))
        return int(found[-1]) if found else 0

    def settled(self) -> int:
        """Return the count once nothing left over from an earlier run comes in any more."""
        before, now = -1, self.count()
        while before != now:
            time.sleep(SETTLE_S)
            before, now = now, self.count()
        return now


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one round through one relay gave."""

    accepted_per_s: float
    delivered_per_s: float
    cpu_us: float
    """CPU of the relay's own processes for each message, in microseconds."""

    missing: int


def relay(sink: Sink, port: int, *, count: int, sessions: int, file: Path, groups: list[int]) -> Relayed:
    """Send copies of a message over parallel sessions, one a connection, and wait until the sink has all.

    Args:
        sink: where the relay sends them on.
        port: where the relay listens.
        count: copies.
        sessions: connections at once.
        file: the message, with LF line ends.
        groups: sessions (process ids of their leaders) of the relay, whose CPU is counted.
    """
    start_count = sink.settled()
    cpu_before = sum(map(measure.session_cpu_s, groups))
    started = time.perf_counter()
    subprocess.run(
        [
            *("smtp-source", "-s", str(sessions), "-m", str(count)),
            *("-f", measure.SENDER, "-t", measure.RECIPIENT, "-F", str(file), f"127.0.0.1:{port}"),
        ],
        check=True,
        capture_output=True,
    )
    accepted = time.perf_counter()
    while (missing := start_count + count - sink.count()) > 0 and time.perf_counter() < accepted + DELIVERY_S:
        time.sleep(0.005)
    delivered = time.perf_counter()
    sink.settled()  # What is done after the sink's 250 belongs to the message too.
    cpu = sum(map(measure.session_cpu_s, groups)) - cpu_before
    return Relayed(count / (accepted - started), count / (delivered - started), cpu / count * 1e6, missing)
