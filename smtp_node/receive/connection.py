"""One client's connection: bytes in and out, time, TLS, and its end.

It stands on aiosmtpd's ``SMTP`` protocol and replaces what that leaves open: it
would pass on bare line ends, run commands that were pipelined behind its own
goodbye, log addresses, and read a message line by line.  ``session`` has the
loop over commands, ``conversation`` the commands.

A session ends in one of three ways: the client leaves; we say ``221`` or a
final reply and hang up; or a time limit does it.  After hanging up nothing that
the client sent is looked at any more.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from aiosmtpd.smtp import SMTP

from smtp_node.receive import replies
from smtp_node.receive.gate import Client, client_at, client_behind_proxy, is_in
from smtp_node.receive.house import House
from smtp_node.receive.inflow import ClientGone, Inflow
from smtp_node.receive.limits import Door
from smtp_node.receive.metering import (
    CLIENT_ERRORS,
    CLOSED_SESSIONS,
    CONNECTIONS,
    REFUSED_CONNECTIONS,
    TLS_CONNECTIONS,
)
from smtp_node.receive.patience import Patience
from smtp_node.receive.proxy_line import BadProxyLine, read_proxy_line
from smtp_node.receive.replies import Reply

log = logging.getLogger(__name__)

LINGER_S = 2.0
"""How long a client may take to read our last words."""

STREAM_LIMIT_BYTES = 64 * 1024
"""Twice as much is read ahead from the socket before the client has to wait."""


class Connection(SMTP):
    """The mechanics of a session, for which a subclass gives ``_serve``."""

    line_length_limit = STREAM_LIMIT_BYTES
    _commands: ClassVar[Sequence[str]] = ()

    def __init_subclass__(cls) -> None:
        """Note the methods that carry out commands, ``smtp_VERB``."""
        cls._commands = [name for name in dir(cls) if name.startswith("smtp_")]

    def __init__(self, door: Door, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self.door = door
        self.house = house
        self.limits = house.limits
        self.trace_id = house.trace_id()
        self.client: Client | None = None
        self.over_tls = door is Door.SUBMISSIONS
        self.errors = 0
        """Permanent refusals since the last accepted message."""

        self.in_message = False
        """From 354 until the reply to the message: not interrupted by a shutdown."""

        self._in_handshake = False
        self._paused = False
        """The client does not read (set by asyncio's flow control)."""

        self._deaf = False
        self._entered = False
        self._unsent: list[bytes] = []
        self._patience = Patience(loop, self._timeout_cb)
        self._time_limit_reply = replies.IDLE_TOO_LONG
        super().__init__(None, hostname=house.limits.hostname, enable_SMTPUTF8=True, loop=loop)
        self._timeout_handle = self._patience  # type: ignore[assignment]  # all that aiosmtpd does is cancel it

    def __dir__(self) -> Sequence[str]:
        """Name the commands only: for each connection aiosmtpd looks through all members to find them."""
        return self._commands

    # --- The connection comes and goes

    def _cb_client_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super()._cb_client_connected(reader, writer)
        self.inflow = Inflow(reader)

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; called by the event loop."""
        super().connection_lost(error)
        self.leave()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client, unless we have hung up."""
        if not self._deaf:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """Let the session read up to the end: a client may send all, close its side, and read our replies."""
        if self._deaf:
            return False
        return asyncio.StreamReaderProtocol.eof_received(self)

    async def _handle_client(self) -> None:
        try:
            if self.client is not None or await self._enter_from_clear():
                await self._serve()
        except ClientGone:
            # Nothing for anybody to look at: probes and phones in tunnels do this all day.
            log.debug("smtp_connection_broken", extra={"trace_id": self.trace_id})
        finally:
            self.leave()
            self._close()

    async def _serve(self) -> None:
        """Talk to the client until one side has said the last word."""
        raise NotImplementedError

    def enter(self, client: Client) -> Reply | None:
        """Count this connection in; or, if a limit forbids that, return what the client should hear.

        Each connection that was counted in must ``leave``.
        """
        if refusal := self.house.gate.refusal(client):
            self.house.meter.count(REFUSED_CONNECTIONS, reason=refusal)
            return replies.TOO_MANY_CONNECTIONS if refusal == "client" else replies.TOO_BUSY
        self.client = client
        self._entered = True
        self.house.gate.enter(client)
        self.house.sessions.add(self)
        self.house.meter.count(CONNECTIONS)
        return None

    def leave(self) -> None:
        """Count this connection out; twice is once."""
        self._patience.cancel()
        if self._entered and self.client is not None:
            self._entered = False
            self.house.gate.leave(self.client)
            self.house.sessions.discard(self)

    async def _enter_from_clear(self) -> bool:
        assert self.transport is not None  # noqa: S101 - set before this task was made
        peer = self.transport.get_extra_info("peername")
        if not peer:
            return False  # gone before we looked
        client: Client | None = client_at(peer[0])
        if client is not None and is_in(client, self.limits.proxies):
            client = await self._named_by_proxy(client)
        if client is None:
            return False
        refusal = self.enter(client)
        if refusal is not None:
            _stream(self.transport).write(refusal.raw)
        return refusal is None

    async def _named_by_proxy(self, proxy: Client) -> Client | None:
        """Return the client that the proxy names, or the proxy itself; None if it says something else."""
        if self.house.gate.refusal(proxy) == "total":
            return proxy  # refused by the caller: a full house waits for nobody's header
        self.house.sessions.add(self)  # so that a shutdown finds it
        self.expect_within(self.limits.handshake, replies.TOO_SLOW)
        try:
            address = await read_proxy_line(self.inflow.exactly)
        except BadProxyLine as exc:
            log.warning("proxy_line_refused", extra={"proxy": proxy.address, "reason": str(exc)})
            self.client_error("proxy")
            self.hang_up(replies.BAD_PROXY_LINE)
            return None
        finally:
            self.house.sessions.discard(self)
        self.expect_within(self.limits.idle)
        return proxy if address is None else client_behind_proxy(address)

    # --- Answering

    def say(self, reply: Reply) -> None:
        """Answer; sent together with further replies once the client waits for them (RFC 2920 §3.2)."""
        self._unsent.append(reply.raw)
        if reply.is_refusal:
            self.errors += 1

    def say_lines(self, code: int, lines: Sequence[str]) -> None:
        """Answer in several lines (RFC 5321 §4.2.1)."""
        self._unsent.extend(f"{code}-{line}\r\n".encode() for line in lines[:-1])
        self._unsent.append(f"{code} {lines[-1]}\r\n".encode())

    def client_error(self, kind: str) -> None:
        """Count a client's mistake under Postal's name for it."""
        self.house.meter.count(CLIENT_ERRORS, error=kind)

    def note(self, event: str) -> None:
        """Write one line about this client to the log."""
        log.info(event, extra={"trace_id": self.trace_id, "client": self.client.address if self.client else ""})

    async def flush(self) -> None:
        """Send all replies, and wait while the client does not read them.

        Raises:
            ClientGone: the connection broke.
        """
        if not self._unsent or self._deaf or self.transport is None:
            return
        _stream(self.transport).write(b"".join(self._unsent))
        self._unsent.clear()
        try:
            await self._writer.drain()
        except OSError as exc:
            raise ClientGone from exc

    # --- TLS

    async def wrap_in_tls(self) -> bool:
        """Put TLS between the client and us; False if the client did not manage it.

        Everything sent in clear is forgotten first: a command that somebody
        put behind STARTTLS must not be run as if it came encrypted
        (RFC 3207 §4.2, CVE-2011-0411, CVE-2024-34083).
        """
        assert self.transport is not None  # noqa: S101 - callers just used it
        self._in_handshake = True
        self.expect_within(self.limits.handshake + timedelta(seconds=LINGER_S), replies.TOO_SLOW)
        self.inflow.clear()
        reader: Any = self._reader  # its buffer and transport have no public names
        reader._buffer.clear()  # noqa: SLF001 - as aiosmtpd does
        try:
            wrapped = await self.loop.start_tls(
                _stream(self.transport),
                self,
                self.house.tls.current(),
                server_side=True,
                ssl_handshake_timeout=self.limits.handshake.total_seconds(),
                ssl_shutdown_timeout=LINGER_S,
            )
        except (OSError, TimeoutError) as exc:  # ssl.SSLError is an OSError
            reason = exc.reason if isinstance(exc, ssl.SSLError) else type(exc).__name__
            log.debug("smtp_handshake_failed", extra={"trace_id": self.trace_id, "reason": reason})
            return False
        if wrapped is None:
            return False  # closed meanwhile
        self.transport = self._transport = reader._transport = wrapped  # noqa: SLF001 - as above
        writer: Any = self._writer
        writer._transport = wrapped  # noqa: SLF001 - as above
        self._over_ssl = self.over_tls = True
        self._in_handshake = False
        self.house.meter.count(TLS_CONNECTIONS)
        return True

    # --- Time

    def expect_within(self, span: timedelta, otherwise: Reply = replies.IDLE_TOO_LONG) -> None:
        """Hang up with that reply unless this is called again within the span."""
        self.expect_until(self.loop.time() + span.total_seconds(), otherwise)

    def expect_until(self, deadline: float, otherwise: Reply) -> None:
        """Hang up with that reply at a moment of the loop's clock, unless this is called again before."""
        self._time_limit_reply = otherwise
        self._patience.until(deadline)

    def _reset_timeout(self, duration: float | None = None) -> None:
        self.expect_within(self.limits.idle if duration is None else timedelta(seconds=duration))

    def _timeout_cb(self) -> None:
        self.hang_up(self._time_limit_reply)

    # --- The end

    def hang_up(self, reply: Reply) -> None:
        """Say the last word: nothing the client sends after it counts."""
        transport = self.transport
        if self._deaf or transport is None:
            return
        if self._in_handshake or self._paused:
            self.cut()  # the client cannot read our words now, or has not read those before
            return
        stream = _stream(transport)
        self._deaf = True
        self.inflow.clear()
        self.house.meter.count(CLOSED_SESSIONS, reason=reply.enhanced)
        stream.write(b"".join([*self._unsent, reply.raw]))
        self._unsent.clear()
        if stream.can_write_eof() and not self.over_tls:
            # Closing with unread bytes resets the connection, and the client may never see the reply.
            # So only our side is closed; what still comes is dropped until the client closes its own.
            try:
                stream.write_eof()
                stream.resume_reading()
            except OSError:
                stream.abort()  # reset by the client at this very moment
        else:
            # The farewells of TLS would wait behind what the client still sends.
            stream.resume_reading()
            stream.close()
        self.loop.call_later(LINGER_S, stream.abort)
        # The session's task may be waiting for input that will be dropped.
        self._reader.feed_eof()

    @property
    def work(self) -> "asyncio.Task[None] | None":
        """The task that carries the session."""
        return self._handler_coroutine

    def cut(self) -> None:
        """Break the connection without a word."""
        if self.transport is not None:
            _stream(self.transport).abort()

    def _close(self) -> None:
        transport = self.transport
        if transport is None or self._deaf:
            return
        stream = _stream(transport)
        if self._unsent:
            stream.write(b"".join(self._unsent))
            self._unsent.clear()
        stream.close()
        if stream.get_write_buffer_size():
            self.loop.call_later(LINGER_S, stream.abort)


def _stream(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """Return the transport as what every TCP and TLS transport is; asyncio types it more weakly."""
    return transport  # type: ignore[return-value]  # uvloop's transports are not subclasses of asyncio.Transport
