"""The internet as an installation under test sees it: a DNS server and mail exchangers on loopback.

They run in one thread with its own event loop, so that a test may block.  Every
exchanger has a loopback address of its own; all have the same port, as on the
real internet.
"""

import asyncio
import json
import socket
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.fakes.dns_server import FakeDNS
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step, Transaction

T = TypeVar("T")

USUAL = ("example.com", "example.net", "example.org")
"""Domains whose exchanger behaves."""

NETWORK = "127.7.0"
SMALL_BUFFER_BYTES = 4096


class Exchanger(SinkMX):
    """A sink whose ``body`` step stops reading from the network, so that the sender gets stuck."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if "body" in self.script:
            # Accepted connections have the buffer of the socket that listens.
            self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        return self

    async def _act(self, stage: str, argument: str, usual: bytes, writer: asyncio.StreamWriter) -> bytes:
        if stage != "body":
            return await super()._act(stage, argument, usual, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        try:
            return await super()._act(stage, argument, usual, writer)
        finally:
            if not writer.transport.is_closing():
                writer.transport.resume_reading()  # type: ignore[attr-defined]


class Internet:
    """A context manager with ``dns_port``, ``mx_port`` and what arrived."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="internet", daemon=True)
        self._directory = tempfile.TemporaryDirectory(prefix="edgepost-internet-")
        self._opened: list[Any] = []
        self._logs: list[Path] = []
        self.exchangers: list[Exchanger] = []
        self.mx_port = 0

    def __enter__(self) -> Self:
        """Start the DNS server and the exchanger of the usual domains."""
        self._thread.start()
        self.dns = self._open(FakeDNS({}))
        self.dns_port = self.dns.port
        self.usual = self.exchanger(*USUAL)
        self.mx_port = self.usual.port
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        for each in reversed(self._opened):
            self._run(each.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._directory.cleanup()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _open(self, each: Any) -> Any:
        self._opened.append(self._run(each.__aenter__()))
        return self._opened[-1]

    def exchanger(
        self, *domains: str, tls: bool | str = False, extensions: Sequence[str] = (), **script: Step
    ) -> Exchanger:
        """Start another exchanger, on an address of its own, for these domains."""
        number = len(self.exchangers) + 1
        log = Path(self._directory.name, f"{number}.jsonl")
        made = Exchanger(host=f"{NETWORK}.{number}", port=self.mx_port, log=log, tls=tls, **script)
        if extensions is not None:
            made.extensions = list(extensions)
        self._open(made)
        self._logs.append(log)
        self.exchangers.append(made)
        self.publish(f"mx{number}.test", A=[made.host])
        for domain in domains:
            self.publish(domain, MX=[[10, f"mx{number}.test"]])
        return made

    def publish(self, name: str, **records: Any) -> None:
        """Set the records of a name, as ``tests.fakes.dns_server`` describes them."""
        self.dns.zone[name] = records

    def transactions(self) -> list[Transaction]:
        """Return all messages that got to their final dot anywhere."""
        return [each for exchanger in self.exchangers for each in list(exchanger.transactions)]

    def to(self, recipient: str) -> list[Transaction]:
        """Return what got to its final dot for a recipient."""
        return [each for each in self.transactions() if recipient in each.rcpts]

    def copies(self) -> Counter[str]:
        """Return how many copies were answered with 250, by recipient."""
        return Counter({recipient: len(times) for recipient, times in self.times().items()})

    def times(self) -> Mapping[str, Sequence[float]]:
        """Return when each copy was answered with 250 (seconds of the epoch), by recipient."""
        found = defaultdict(list)
        for log in self._logs:
            for line in log.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    entry = json.loads(line)
                    found[entry["rcpt"]].append(entry["at"])
        return found
