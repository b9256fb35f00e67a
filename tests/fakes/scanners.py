"""Scanners on loopback that answer what they are told, well or badly, and one in memory."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.inspection import NOT_INSPECTED, Inspection
from shared.settings import ServiceAddress
from smtp_node.scan.scanner import ScannedMail

Speak = Callable[[StreamReader, StreamWriter], Awaitable[None]]

MAIL = ScannedMail(
    content=(b"Received: from a by b; c\r\n", b"Subject: x\r\n\r\nhello\r\n"),
    mail_from="ann@sender.test",
    rcpt_to=("info@here.test",),
    address="192.0.2.9",
    name="mx.sender.test",
    helo="mx.sender.test",
    queue_id="abcd1234",
)


@dataclass
class FakeScanner:
    """Says what it was told to say; remembers what it was shown."""

    answer: Inspection | Exception = NOT_INSPECTED
    name: str = "fake"
    timeout: timedelta = timedelta(seconds=5)
    max_bytes: int = 1_000_000
    gate: asyncio.Event | None = None
    """Scans wait for it."""

    shown: list[ScannedMail] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def scan(self, mail: ScannedMail) -> Inspection:
        """Answer, once the gate is open."""
        self.shown.append(mail)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@asynccontextmanager
async def listening(speak: Speak) -> AsyncIterator[ServiceAddress]:
    """Serve one way to speak on a port of loopback."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side had enough, or the test ends
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield ServiceAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def saying(answer: bytes, heard: list[bytes] | None = None) -> Speak:
    """Read a whole request of any of the three protocols, answer, and close."""

    async def speak(reader: StreamReader, writer: StreamWriter) -> None:
        request = await read_request(reader)
        if heard is not None:
            heard.append(request)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()  # until the client has read it and gone

    return speak


async def read_request(reader: StreamReader) -> bytes:
    """Return what a client sends up to the end of its message; of clamd's, the message alone."""
    first = await reader.readexactly(10)
    if first == b"zINSTREAM\0":
        parts = []
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            parts.append(await reader.readexactly(size))
        return b"".join(parts)
    head = first + await reader.readuntil(b"\r\n\r\n")
    [length] = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length))


async def hang(_reader: StreamReader, _writer: StreamWriter) -> None:
    """Take the connection, read nothing, say nothing."""
    await asyncio.Event().wait()


async def hang_up(_reader: StreamReader, _writer: StreamWriter) -> None:
    """Take the connection and drop it."""


def stopping_after(answer: bytes) -> Speak:
    """Say the beginning of an answer, and then nothing more."""

    async def speak(reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await asyncio.Event().wait()

    return speak


def endless(beginning: bytes, piece: bytes) -> Speak:
    """Say something and never stop."""

    async def speak(reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(reader)
        writer.write(beginning)
        while True:
            writer.write(piece)
            await writer.drain()

    return speak


def http(body: bytes, status: str = "200 OK", head: bytes = b"") -> bytes:
    """Return an HTTP answer."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), head, body)
