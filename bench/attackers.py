"""Hostile peers for port 25, in a process of its own: ``attackers.py PORT NAME RETURN_PATH``, until it is ended.

Each attack is what ``PEERS`` connections do over and over.  Replies do not matter to them.
"""

import asyncio
import contextlib
import gzip
import os
import sys
from collections.abc import Callable

import uvloop

PEERS = 20
ADDRESS = "127.0.0.2"
"""Another one than that of ordinary mail: limits count by address."""

LARGE = 25_000_000
DAEMON = (
    b"From: MAILER-DAEMON@dest.test\r\nMessage-ID: <%d@dest.test>\r\nSubject: failure notice\r\nMIME-Version: 1.0\r\n"
)
REPORT = DAEMON + b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
NOTICE = DAEMON + b"\r\nHi. This is the qmail-send program at dest.test.\r\n\r\n"
PACKED = DAEMON + b"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def nested() -> bytes:
    """Return multiparts 5,000 deep (attack M1)."""
    one = b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n'
    heads = b"".join(one % (depth, depth + 1) for depth in range(5000))
    return DAEMON + b'Content-Type: multipart/mixed; boundary="b0"\r\n\r\n' + heads


def packed(plain: bytes) -> bytes:
    """Return a report that is gzip (attacks M2, M3)."""
    import base64

    return PACKED + base64.encodebytes(gzip.compress(plain)).replace(b"\n", b"\r\n")


def xml() -> bytes:
    """Return a DMARC report with as many rows as fit into the bounds."""
    row = b"<record><row><source_ip>192.0.2.1</source_ip><count>1</count></row></record>"
    return b"<?xml version='1.0'?><feedback>" + row * (15_000_000 // len(row)) + b"</feedback>"


MAILS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "multiparts 5,000 deep": ("{token}@{domain}", nested),
    "100,000 parts": ("{token}@{domain}", lambda: REPORT + b"--b\r\n\r\n" * 100_000),
    "100,000 header fields": ("{token}@{domain}", lambda: DAEMON + b"X-A: b\r\n" * 100_000 + b"\r\nx"),
    "RFC 2231 parameters": (
        "{token}@{domain}",
        lambda: DAEMON + b"Content-Type: multipart/report" + b"; a*0=b\r\n" * 20_000 + b"\r\nx",
    ),
    "notices of 2 MB": ("{token}@{domain}", lambda: NOTICE + b"<a@b.test>:\r\nuser unknown 5.1.1\r\n" * 60_000),
    "HTML of open tags, 2 MB": (
        "{token}@{domain}",
        lambda: DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<a <!-- &amp \r\n" * 130_000,
    ),
    "25 MB mails": ("user@example.com", lambda: DAEMON + b"\r\n" + (b"x" * 70 + b"\r\n") * (LARGE // 72)),
    "25 MB bounces": ("{token}@{domain}", lambda: NOTICE + (b"x" * 70 + b"\r\n") * (LARGE // 72)),
    "gzip reports of 1 GB": ("dmarc@{domain}", lambda: packed(b"<?xml " + bytes(1_000_000_000))),
    "DMARC reports of 15 MB": ("dmarc@{domain}", lambda: packed(xml())),
}


class Harmless(Exception):
    """The mail's recipient was refused, so nothing was attacked."""


async def mail(port: int, recipient: str, raw: bytes, number: int) -> None:
    """Send one hostile mail."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ADDRESS, 0))
    try:
        for line in (b"EHLO x.test", b"MAIL FROM:<>", b"RCPT TO:<%s>" % recipient.encode(), b"DATA"):
            await reader.readline()
            writer.write(line + b"\r\n")
        for line in (b"250", b"250", b"250", b"354"):
            while not (reply := await reader.readline()).startswith(line + b" "):
                if reply.startswith(b"550"):
                    raise Harmless(reply)
                if reply[:1] in (b"4", b"5", b""):
                    raise OSError(reply)
        writer.write(raw.replace(b"%d", b"%d" % number, 1) + b"\r\n.\r\n")
        await writer.drain()
        await reader.readline()
    finally:
        writer.transport.abort()


async def commands(port: int) -> None:
    """Send pipelined chatter and an endless command line (attack S17)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ADDRESS, 0))
    try:
        writer.write(b"NOOP\r\n" * 90 + b"x" * 1_000_000 + b"\r\n" + b"RCPT TO:<a@b.test>\r\n" * 200)
        await writer.drain()
        while await reader.read(65_536):
            pass
    finally:
        writer.transport.abort()


async def drip(port: int) -> None:
    """Hold a connection with a message that comes byte by byte (attack S17)."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ADDRESS, 0))
    try:
        writer.write(b"EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.com>\r\nDATA\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.1)
    finally:
        writer.transport.abort()


async def over_and_over(attack: Callable[[int], "asyncio.Future[None]"], first: int) -> None:
    """Attack, whatever the answer."""
    for number in range(first, sys.maxsize, PEERS):
        with contextlib.suppress(OSError, EOFError):
            await attack(number)


async def main(port: int, name: str, return_path: str) -> None:
    """Attack until the process is ended."""
    token, _, domain = return_path.partition("@")
    peers = PEERS
    if name in MAILS:
        to, make = MAILS[name]
        raw, recipient = make(), to.format(token=token, domain=domain)

        def attack(number: int) -> "asyncio.Future[None]":
            return asyncio.ensure_future(mail(port, recipient, raw, number))
    elif name == "endless commands":

        def attack(number: int) -> "asyncio.Future[None]":  # noqa: ARG001 - all are the same
            return asyncio.ensure_future(commands(port))
    else:
        peers = 500

        def attack(number: int) -> "asyncio.Future[None]":  # noqa: ARG001 - all are the same
            return asyncio.ensure_future(drip(port))

    print("ready", flush=True)
    await asyncio.gather(*[over_and_over(attack, each) for each in range(peers)])


ATTACKS = (*MAILS, "endless commands", "500 slow drips")

if __name__ == "__main__":
    os.nice(19)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
