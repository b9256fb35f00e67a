"""Sends mail to port 25 from a process of its own: ``sender.py PORT SESSIONS COUNT FILE``.

Each mail is the file with a Message-ID of its own, because the same mail again is one mail to Edgepost, over
a connection of its own, command by command.  Prints a JSON document: the seconds that
all took, and of each mail from connecting to the reply to its final dot.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

SENDER = "ann@sender.test"
RECIPIENT = "user@example.com"
COMMANDS = (b"EHLO mx.sender.test", b"MAIL FROM:<%s>" % SENDER.encode(), b"RCPT TO:<%s>" % RECIPIENT.encode(), b"DATA")


async def _reply(reader: asyncio.StreamReader) -> bytes:
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line


async def send(port: int, raw: bytes) -> float:
    """Send one mail with CRLF line ends; return the seconds until it was taken.

    Raises:
        RuntimeError: it was not.
    """
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        reply = await _reply(reader)
        for command in COMMANDS:
            writer.write(command + b"\r\n")
            reply = await _reply(reader)
            if reply[:1] not in (b"2", b"3"):
                raise RuntimeError(f"{command.decode()}: {reply.decode()}")
        writer.write(raw + b".\r\n")
        reply = await _reply(reader)
        took = time.perf_counter() - started
        if not reply.startswith(b"250"):
            raise RuntimeError(f"the mail was not taken: {reply.decode()}")
        writer.write(b"QUIT\r\n")
        await _reply(reader)
    finally:
        writer.close()
    return took


async def send_all(port: int, sessions: int, numbers: Iterator[int], raw: bytes) -> list[float]:
    """Send a mail for each number over parallel sessions, and return what each took."""
    run = time.time_ns()

    async def session() -> list[float]:
        return [await send(port, b"Message-ID: <%d.%d@sender.test>\r\n" % (run, each) + raw) for each in numbers]

    return [each for some in await asyncio.gather(*[session() for _ in range(sessions)]) for each in some]


def main(port: int, sessions: int, count: int, file: Path) -> None:
    """Send and print."""
    raw = file.read_bytes()
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(send_all(port, sessions, iter(range(count)), raw))
    print(json.dumps({"seconds": time.perf_counter() - started, "each": took}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
