"""A mail exchanger of a few lines: takes every mail on loopback and keeps it in memory.

It stands for "the internet" in the tour.  Enough of RFC 5321 for a sender
that behaves: no TLS, no limits, no refusals.
"""

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Arrived:
    """One mail as it came over the wire."""

    mail_from: str
    recipients: tuple[str, ...]
    raw: bytes
    """With CRLF line ends, the dots of transparency removed (RFC 5321 §4.5.2)."""


class SmallMX:
    """Takes mail on a loopback port that the system chooses; a context manager with ``port``.

    Runs in a thread of its own, so that the caller may block in ``wait_for``.
    """

    port: int

    def __init__(self) -> None:
        self._arrived: list[Arrived] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mx", daemon=True)

    def __enter__(self) -> Self:
        """Start taking mail."""
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is connected, close the port and end the thread."""
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def arrived(self) -> list[Arrived]:
        """Return everything taken so far, oldest first."""
        with self._changed:
            return list(self._arrived)

    def wait_for(self, recipients: frozenset[str], count: int, *, timeout_s: float) -> int:
        """Wait until so many of the recipients have mail and return how many have; repeats count once."""
        with self._changed:
            self._changed.wait_for(lambda: self._reached(recipients) >= count, timeout_s)
            return self._reached(recipients)

    def _reached(self, recipients: frozenset[str]) -> int:
        return len(recipients & {one for mail in self._arrived for one in mail.recipients})

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0, limit=1 << 20)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self._server.close()
        open_sessions = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in open_sessions:
            task.cancel()
        await asyncio.gather(*open_sessions, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail_from = ""
        recipients: list[str] = []
        writer.write(b"220 mx.demo.test ESMTP\r\n")
        while line := await reader.readline():
            verb, rest = line[:4].upper(), line[4:].decode("utf-8", "replace")
            match verb:
                case b"EHLO":
                    reply = "250-mx.demo.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 52428800"
                case b"MAIL":
                    mail_from, reply = _path(rest), "250 2.1.0 OK"
                case b"RCPT":
                    recipients.append(_path(rest))
                    reply = "250 2.1.5 OK"
                case b"DATA":
                    writer.write(b"354 Go ahead\r\n")
                    raw = await _data(reader)
                    self._keep(Arrived(mail_from, tuple(recipients), raw))
                    mail_from, recipients, reply = "", [], "250 2.0.0 Taken"
                case b"RSET" | b"HELO" | b"NOOP":
                    mail_from, recipients, reply = "", [], "250 2.0.0 OK"
                case b"QUIT":
                    writer.write(b"221 2.0.0 Bye\r\n")
                    return
                case _:
                    reply = "502 5.5.1 Unknown command"
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()

    def _keep(self, mail: Arrived) -> None:
        with self._changed:
            self._arrived.append(mail)
            self._changed.notify_all()


def _path(rest: str) -> str:
    _, _, after = rest.partition("<")
    return after.partition(">")[0]


async def _data(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise asyncio.IncompleteReadError(b"", None)
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)
