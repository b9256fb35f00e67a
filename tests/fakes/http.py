"""Other people's endpoints: one in memory that is scripted, one on loopback that speaks what it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from shared.network import HTTPAnswer


@dataclass(frozen=True, slots=True)
class Posted:
    """One request that came in."""

    url: str
    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes
    timeout_s: float | None = None


@dataclass
class FakeHTTP:
    """``HTTPOut`` in memory: answers 200 unless the script says otherwise."""

    script: Callable[[Posted], HTTPAnswer | Awaitable[HTTPAnswer]] | None = None
    posted: list[Posted] = field(default_factory=list)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float | None = None
    ) -> HTTPAnswer:
        """Note the request and answer as scripted."""
        request = Posted(url, {name.lower(): value for name, value in headers.items()}, body, timeout_s)
        self.posted.append(request)
        if self.script is None:
            return answer(200)
        made = self.script(request)
        return made if isinstance(made, HTTPAnswer) else await made

    async def close(self) -> None:
        """Nothing is open."""


def answer(status: int, body: bytes = b"OK", took_ms: int = 5, **headers: str) -> HTTPAnswer:
    """Return an answer; status 0 for none."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPAnswer(status, timedelta(milliseconds=took_ms), "" if status else "No connection.", named, body)


Speak = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Listener:
    """A loopback server that answers raw bytes; ``requests`` has what came."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return its URL."""
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def listening(
    speak: Speak | bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
) -> AsyncIterator[Listener]:
    """Run a listener that gives each request the same raw answer, or lets ``speak`` give it."""
    made = Listener()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                made.requests.append(head + await reader.readexactly(length))
                if isinstance(speak, bytes):
                    writer.write(speak)
                    await writer.drain()
                else:
                    await speak(made.requests[-1], writer)
        except (OSError, asyncio.IncompleteReadError, StopIteration):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)
