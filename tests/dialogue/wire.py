"""A client that sends exactly what it is told to, and reads replies whole."""

import asyncio
import ssl
from base64 import b64encode

PATIENCE_S = 10.0


class Wire:
    """One connection to a door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int, *, tls: bool = False) -> "Wire":
        """Connect; with ``tls`` the handshake is done at once."""
        context = trusting_context() if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self) -> str:
        """Return one whole reply, its lines joined by LF; empty if the server closed."""
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    line = await self.reader.readline()
                except ConnectionError:
                    line = b""
                if not line:
                    return "\n".join(lines)
                lines.append(line.decode().rstrip("\r\n"))
                if lines[-1][3:4] != "-":
                    return "\n".join(lines)

    async def say(self, command: str) -> str:
        """Send a command line and return the reply."""
        await self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def start_tls(self, *, behind: bytes = b"") -> str:
        """Send STARTTLS, with bytes behind it in the same packet, and do the handshake."""
        await self.send(b"STARTTLS\r\n" + behind)
        reply = await self.reply()
        if reply.startswith("220"):
            await self.writer.start_tls(trusting_context())
        return reply

    async def log_in(self, key: str = "good-key") -> str:
        """Say EHLO and AUTH PLAIN."""
        await self.say("EHLO client.example.test")
        return await self.say("AUTH PLAIN " + plain(key))

    async def rest(self) -> str:
        """Return everything that still comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return (await self.reader.read()).decode()
            except ConnectionError:
                return ""

    async def close(self) -> None:
        """Break the connection off."""
        self.writer.transport.abort()
        try:
            async with asyncio.timeout(1):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            pass


def plain(key: str, user: str = "anyone") -> str:
    """Return the initial response of AUTH PLAIN."""
    return b64encode(f"\0{user}\0{key}".encode()).decode()


def trusting_context() -> ssl.SSLContext:
    """Return a client's context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
