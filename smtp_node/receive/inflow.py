"""Reading what a client sends: command lines one by one, messages in large pieces.

It keeps its own read-ahead instead of ``StreamReader.readuntil``, so that an
endless command line costs constant memory, a message is not cut into lines,
and everything read ahead can be thrown away at once (STARTTLS, refusals).
"""

from asyncio import StreamReader

PIECE_BYTES = 256 * 1024


class LineTooLong(Exception):
    """A whole command line was read and dropped because it was over the limit."""


class ClientGone(Exception):
    """The connection broke; nobody is left to answer."""


class Inflow:
    """The bytes from one client, in order."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._ahead = bytearray()

    @property
    def has_line(self) -> bool:
        """Whether the next command is here already: then replies may wait (RFC 2920 §3.2)."""
        return b"\n" in self._ahead

    async def line(self, limit_bytes: int) -> bytes | None:
        """Return the next line without its line end, or None at the end of the stream.

        A command may end with LF alone: scripts do that, and outside of a
        message no second reading of it is possible.

        Raises:
            LineTooLong: the line had more bytes than the limit.
            ClientGone: the connection broke.
        """
        searched = 0
        too_long = False
        while (end := self._ahead.find(b"\n", searched)) < 0:
            if len(self._ahead) > limit_bytes:
                too_long = True
                self._ahead.clear()
            searched = len(self._ahead)
            piece = await self._read()
            if not piece:
                return None
            self._ahead += piece
        line = bytes(self._ahead[:end]).removesuffix(b"\r")
        del self._ahead[: end + 1]
        if too_long or len(line) > limit_bytes:
            raise LineTooLong
        return line

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes.

        Raises:
            ClientGone: the connection broke or ended before.
        """
        while len(self._ahead) < count:
            piece = await self._read()
            if not piece:
                raise ClientGone
            self._ahead += piece
        taken = bytes(self._ahead[:count])
        del self._ahead[:count]
        return taken

    async def piece(self) -> bytes:
        """Return some bytes of a message.

        Raises:
            ClientGone: the connection broke or ended.
        """
        if self._ahead:
            piece = bytes(self._ahead)
            self._ahead.clear()
            return piece
        piece = await self._read()
        if not piece:
            raise ClientGone
        return piece

    def put_back(self, rest: bytes) -> None:
        """Return what ``piece`` gave beyond the message; it is read next."""
        self._ahead[:0] = rest

    def clear(self) -> None:
        """Forget everything read ahead."""
        self._ahead.clear()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(PIECE_BYTES)
        except OSError as exc:
            raise ClientGone from exc
