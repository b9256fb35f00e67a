"""A sink MX that can be told to misbehave at any stage, in-process or as a program.

Raw asyncio streams (lines up to 1 MB), so that it neither forgives nor corrects what the client
sends; bodies are kept exactly as they came, dot-stuffing included.  As a program::

    python -m tests.fakes.mx --port 0 --log sent.jsonl --script script.json

prints its port; the script maps stages to steps (``{"rcpt": {"reply": "450 later"}}``).
Stages: connect, greeting, ehlo, helo, starttls, auth, mail, rcpt, data, body (in the
middle of it), dot, after (the 250), rset, quit.
"""

import argparse
import asyncio
import binascii
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.fakes.certificate import self_signed_context
from tests.fakes.mx_script import Gone, Session, Step, Transaction, close

TOKEN = re.compile(rb"token[-=: ]+([A-Za-z0-9-]{4,64})", re.IGNORECASE)
REPLIES = {
    "greeting": b"220 mx.test ESMTP\r\n",
    "helo": b"250 mx.test\r\n",
    "starttls": b"220 go ahead\r\n",
    "auth": b"235 2.7.0 ok\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go ahead\r\n",
    "dot": b"250 2.0.0 queued\r\n",
    "rset": b"250 2.0.0 ok\r\n",
    "quit": b"221 2.0.0 bye\r\n",
}


class SinkMX:
    """``async with SinkMX(rcpt=Step(reply="450 later")) as mx:`` then connect to ``mx.port``."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 52428800"),
        tls: bool | str = False,
        users: Mapping[str, str] | None = None,
        log: Path | None = None,
        clock: Callable[[], float] = time.time,
        **script: Step | Sequence[Step],
    ) -> None:
        self.host, self.port = host, port
        self.extensions = list(extensions)
        self.tls = tls
        """True: offered; ``implicit``: from the first byte; ``broken``: offered, and the handshake fails."""

        self.users = users
        self.script = {
            stage: list(steps) if isinstance(steps, Sequence) else [steps] for stage, steps in script.items()
        }
        self.sessions: list[Session] = []
        self.transactions: list[Transaction] = []
        self.reached = asyncio.Event()
        """Set whenever a scripted hold or silence begins."""

        self.context = self_signed_context() if tls else None
        self._log = log.open("a", buffering=1) if log else None
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context = self.context if self.tls == "implicit" else None
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=2**20, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._log:
            self._log.close()

    @property
    def bodies(self) -> list[bytes]:
        """The messages that got to their final dot."""
        return [each.raw for each in self.transactions]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(tls=self.tls == "implicit")
        self.sessions.append(session)
        task = asyncio.get_running_loop().create_task(self._serve(session, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._act("connect", "", b"", writer)
            await self._act("greeting", "", REPLIES["greeting"], writer)
            while line := await reader.readline():
                shown = line.decode("utf-8", "replace").rstrip("\r\n")
                session.commands.append(shown)
                verb, _, argument = shown.partition(" ")
                await self._command(session, verb.lower(), argument, reader, writer)
        except (Gone, OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    async def _command(
        self, session: Session, verb: str, argument: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if verb == "auth":
            usual = await self._authenticate(session, argument, reader, writer)
        else:
            usual = self._usual(session, verb, argument)
        said = await self._act(verb, argument, usual, writer)
        if said.startswith(b"2"):
            await self._done(session, verb, argument, writer)
        elif verb == "data" and said.startswith(b"354"):
            await self._take_body(session, reader, writer)
            session.mail, session.rcpts = "", []

    def _usual(self, session: Session, verb: str, argument: str) -> bytes:
        """Return the reply of a host that behaves."""
        match verb:
            case "ehlo" | "helo":
                session.helo = argument
                return self._offers(session) if verb == "ehlo" else REPLIES[verb]
            case "mail" if self.users is not None and not session.user:
                return b"530 5.7.0 authentication required\r\n"
            case "rcpt" if not session.mail:
                return b"503 5.5.1 MAIL first\r\n"
            case "data" if not session.rcpts:
                return b"554 5.5.1 no valid recipients\r\n"
        return REPLIES.get(verb, b"502 5.5.2 what?\r\n")

    async def _done(self, session: Session, verb: str, argument: str, writer: asyncio.StreamWriter) -> None:
        """Do what a positive reply has promised."""
        match verb:
            case "mail":
                session.mail, session.rcpts = argument.partition(":")[2], []
            case "rcpt":
                session.rcpts.append(argument.partition(":")[2].strip("<> "))
            case "rset":
                session.mail, session.rcpts = "", []
            case "starttls" if self.tls == "broken":
                writer.write(b"this is no handshake\r\n" * 10)
                raise Gone
            case "starttls":
                await writer.start_tls(self.context)
                session.tls = True
            case "quit":
                raise Gone

    def _offers(self, session: Session) -> bytes:
        lines = ["mx.test", *self.extensions]
        if self.tls and not session.tls:
            lines.append("STARTTLS")
        if self.users is not None and not any(line.upper().startswith("AUTH") for line in lines):
            lines.append("AUTH PLAIN LOGIN")
        return b"".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n".encode() for line in lines)

    async def _authenticate(
        self, session: Session, argument: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            _, user, password = binascii.a2b_base64(initial).decode().split("\0")
        else:
            answers = []
            for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
                writer.write(prompt)
                answers.append(binascii.a2b_base64(await reader.readline()).decode())
            user, password = answers
        if (self.users or {}).get(user) != password:
            return b"535 5.7.8 wrong\r\n"
        session.user = user
        return REPLIES["auth"]

    async def _take_body(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "body" in self.script:
            await reader.read(100)
            await self._act("body", "", b"", writer)
        lines: list[bytes] = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
        done = Transaction(session.mail, session.rcpts, b"".join(lines), session.helo, session.tls, session.user)
        self.transactions.append(done)
        said = await self._act("dot", "", REPLIES["dot"], writer)
        if said.startswith(b"2"):
            self._record(done)
        await self._act("after", "", b"", writer)

    def _record(self, done: Transaction) -> None:
        if self._log is None:
            return
        token = TOKEN.search(done.wire)
        for rcpt in done.rcpts:
            entry: dict[str, Any] = {"token": token[1].decode() if token else "", "rcpt": rcpt, "at": self._clock()}
            self._log.write(json.dumps(entry) + "\n")

    async def _act(self, stage: str, argument: str, usual: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Do what the script says, or reply as usual; return the reply, which may wait while other sessions go on."""
        step = self._step(stage, argument)
        reply = usual if step.reply is None else step.reply
        reply = reply.encode() + b"\r\n" if isinstance(reply, str) else reply
        await self._wait(step)
        if step.then in ("drop", "reset"):
            close(writer, hard=step.then == "reset")
        if step.byte_every_s:
            for at in range(len(reply)):
                writer.write(reply[at : at + 1])
                await asyncio.sleep(step.byte_every_s)
        elif reply:
            writer.write(reply)
            await writer.drain()
        if step.then in ("drop-after", "reset-after"):
            close(writer, hard=step.then == "reset-after")
        return reply

    async def _wait(self, step: Step) -> None:
        if step.delay_s:
            await asyncio.sleep(step.delay_s)
        if step.hold is None and step.then != "silence":
            return
        self.reached.set()
        if step.then == "silence":
            await asyncio.Event().wait()
        if isinstance(step.hold, str):
            while not Path(step.hold).exists():  # noqa: ASYNC110, ASYNC240  # another process makes the file
                await asyncio.sleep(0.02)
        elif step.hold is not None:
            await step.hold.wait()

    def _step(self, stage: str, argument: str) -> Step:
        for step in self.script.get(stage, ()):
            if step.times > 0 and step.match in argument:
                step.times -= 1
                return step
        return Step()


async def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="A sink MX that can be told to misbehave.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--tls", choices=["", "offered", "implicit", "broken"], default="")
    parser.add_argument("--script", type=Path, help="JSON: stage to step or list of steps")
    chosen = parser.parse_args(arguments)
    script = json.loads(chosen.script.read_text()) if chosen.script else {}
    steps = {
        stage: [Step(**each) for each in (found if isinstance(found, list) else [found])]
        for stage, found in script.items()
    }
    tls: bool | str = True if chosen.tls == "offered" else chosen.tls
    async with SinkMX(host=chosen.host, port=chosen.port, log=chosen.log, tls=tls, **steps) as mx:
        print(mx.port, flush=True)  # noqa: T201  # whoever started it reads the port
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
