"""What a sink MX can be told to do, and what it remembers."""

import asyncio
import struct
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET, socket


@dataclass
class Step:
    """What to do at a stage in place of the usual reply."""

    reply: str | bytes | None = None
    """Whole reply; a str gets CRLF.  None: the usual one."""

    then: str = ""
    """``drop`` (FIN), ``reset`` (RST), ``silence`` (nothing more), ``drop-after``/``reset-after`` the reply."""

    delay_s: float = 0
    byte_every_s: float = 0
    """Tarpit: one byte at a time."""

    hold: asyncio.Event | str | None = None
    """Wait for the event, or until a file of this name exists."""

    match: str = ""
    """Only if the argument contains this."""

    times: int = 1_000_000
    """So often, then as usual."""


@dataclass
class Transaction:
    """One message that got to its final dot."""

    mail: str
    """The whole argument of MAIL, parameters included."""

    rcpts: list[str]
    wire: bytes
    """Between 354 and the final dot, as it came; ends with CRLF."""

    helo: str = ""
    tls: bool = False
    user: str = ""

    @property
    def raw(self) -> bytes:
        """The message without dot-stuffing."""
        unstuffed = self.wire.replace(b"\r\n..", b"\r\n.")
        return unstuffed[1:] if unstuffed.startswith(b"..") else unstuffed


@dataclass
class Session:
    """What one connection said."""

    commands: list[str] = field(default_factory=list)
    helo: str = ""
    tls: bool = False
    user: str = ""
    mail: str = ""
    rcpts: list[str] = field(default_factory=list)


class Gone(Exception):
    """The script ended this connection."""


def close(writer: asyncio.StreamWriter, *, hard: bool) -> None:
    """End the connection with FIN, or with RST."""
    if hard:
        found: socket = writer.get_extra_info("socket")
        found.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    raise Gone
