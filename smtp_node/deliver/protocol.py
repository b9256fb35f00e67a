"""aiosmtplib's protocol with what mail between hosts needs on top.

It pairs each reply with its command strictly, writes bodies in blocks without
changing a byte, and knows whether the final dot has left.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from aiosmtplib import (
    SMTPException,
    SMTPReadTimeoutError,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import COMMAND_INJECTION_REGEX, MAX_RESPONSE_LENGTH, SMTPProtocol

from shared.domain.replies import Reply, readable

CODES = range(200, 600)
UNASKED = "the host sent a reply that nothing asked for"


class Broken(Exception):
    """The connection cannot be used any more; nothing it says would be trusted."""

    def __init__(self, reason: str, *, after_dot: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_dot = after_dot
        """The final dot was written: the remote may have taken the message (RFC 1047)."""


class WireProtocol(SMTPProtocol):
    """One connection; every failure comes out as ``Broken``, every reply as ``Reply``."""

    _ahead = 0
    """Replies to come for commands written together."""

    async def greeting(self, timeout_s: float) -> Reply:
        """Return the host's first reply (RFC 5321 §4.3.1)."""
        return await self._next_reply(timeout_s)

    async def ask(self, line: bytes, timeout_s: float) -> Reply:
        """Write one command and return its reply.

        Raises:
            Broken: no usable reply came, or the host had already said more than it was asked.
            ValueError: the line holds a control character.
        """
        # aiosmtplib would take left-over bytes for the reply to this command, and so
        # could take the reply to RCPT for the one to the final dot.
        if self._buffer:
            raise Broken(UNASKED)
        try:
            answer = await self.execute_command(line, timeout=timeout_s)
        except (SMTPException, OSError) as exc:
            raise Broken(_reason(exc)) from exc
        return _checked(answer.code, answer.message)

    def write_ahead(self, lines: Sequence[bytes]) -> None:
        """Write commands together (RFC 2920); each reply is then fetched with ``ahead_reply``, in order.

        Raises:
            Broken: the connection is lost, or the host had already said more than it was asked.
            ValueError: a line holds a control character.
        """
        if any(COMMAND_INJECTION_REGEX.search(line) for line in lines):
            raise ValueError("a command holds a control character")
        if self._buffer:
            raise Broken(UNASKED)
        self._ahead = len(lines)
        self._response_pending = True
        try:
            self.write(b"".join(line + b"\r\n" for line in lines))
        except SMTPException as exc:
            raise Broken(_reason(exc)) from exc

    async def ahead_reply(self, timeout_s: float) -> Reply:
        """Return the reply to the next of the commands written ahead.

        Raises:
            Broken: no usable reply came.
        """
        waiter = self._response_waiter
        try:
            # What the waiter holds came before what is in the buffer, unless it is the news that all is over.
            if self._buffer and (waiter is None or not waiter.done() or waiter.exception() is not None):
                parsed = self._read_response_from_buffer()
                if parsed is not None:
                    return _checked(parsed.code, parsed.message)
            return await self._next_reply(timeout_s)
        except SMTPException as exc:
            raise Broken(_reason(exc)) from exc
        finally:
            self._ahead -= 1

    def data_received(self, data: bytes) -> None:
        """Take bytes from the host; of replies that were asked for together none is lost."""
        waiter = self._response_waiter
        if self._ahead and waiter is not None and (waiter.done() or not self._response_pending):
            # aiosmtplib keeps one reply at a time and would drop these.
            self._buffer.extend(data)
            if len(self._buffer) > MAX_RESPONSE_LENGTH:
                self.abort()
            return
        super().data_received(data)

    async def send_body(
        self, blocks: Iterable[bytes], *, block_s: float, dot_s: float, still_ours: Callable[[], bool]
    ) -> Reply | None:
        """Write dot-stuffed blocks, the last of which ends with the final dot, and return the reply.

        A host that refuses in the middle and closes is heard.  Before each block
        ``still_ours`` is asked; once it says no, nothing more is written and None is
        returned: this process may have been stopped for minutes.

        Raises:
            Broken: with ``after_dot`` if the last block had been handed to the socket.
        """
        if self._buffer:
            raise Broken(UNASKED)
        self._response_pending = True
        try:
            if not await self._write_blocks(blocks, block_s, still_ours):
                return None
        except (SMTPException, OSError) as exc:
            early = self._refusal_in_the_middle()
            if early is None:
                raise Broken(_reason(exc)) from exc
            self.abort()
            return early
        try:
            return await self._next_reply(dot_s)
        except Broken as exc:
            raise Broken(exc.reason, after_dot=True) from exc

    async def _write_blocks(self, blocks: Iterable[bytes], block_s: float, still_ours: Callable[[], bool]) -> bool:
        first = True
        for block in blocks:
            if not first:
                # RFC 5321 §4.5.3.2.5: the host must take each block within this time.
                async with asyncio.timeout(block_s):
                    await self._drain_helper()
            if not still_ours():
                return False
            self.write(block)
            first = False
        return True

    def _refusal_in_the_middle(self) -> Reply | None:
        waiter = self._response_waiter
        if waiter is None or not waiter.done() or waiter.exception() is not None:
            return None
        reply = Reply(waiter.result().code, readable(waiter.result().message))
        # A success before the final dot is none.
        return reply if 400 <= reply.code <= 599 else None

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109  # aiosmtplib's name
        """Return the next response, as aiosmtplib does, but end when cancelled.

        Its ``wait_for`` forgets a cancellation that meets an arriving reply
        (Python before 3.12), and a node that stops would then wait for minutes.
        """
        waiter = self._response_waiter
        if waiter is None:
            raise SMTPServerDisconnected("Connection lost")
        self._response_pending = True
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except TimeoutError as exc:
            raise SMTPReadTimeoutError("Timed out waiting for server response") from exc
        finally:
            self._response_pending = False
            self._response_waiter = None if self.transport is None else self._loop.create_future()

    async def _next_reply(self, timeout_s: float) -> Reply:
        try:
            answer = await self.read_response(timeout=timeout_s)
        except (SMTPException, OSError) as exc:
            raise Broken(_reason(exc)) from exc
        return _checked(answer.code, answer.message)

    def abort(self) -> None:
        """Drop the connection at once, without QUIT; what is still in our buffers is not sent."""
        if self.transport is not None:
            # uvloop's transports are none of asyncio's classes.
            cast("asyncio.WriteTransport", self.transport).abort()


def _checked(code: int, text: str) -> Reply:
    # RFC 5321 §4.2: the first digit is 2 to 5.
    if code not in CODES:
        raise Broken(f"the host's reply has the code {code}, which SMTP does not know")
    return Reply(code, readable(text))


def _reason(exc: Exception) -> str:
    if isinstance(exc, SMTPResponseException):
        return readable(exc.message).replace("\n", " ")[:200]
    if isinstance(exc, TimeoutError):
        return "the host took too long to answer"
    return f"the connection was lost ({type(exc.__cause__ or exc).__name__})"
