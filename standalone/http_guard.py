"""HTTP connections that may not take for ever, nor send headers without end.

Uvicorn's parser has no bound on the size of headers and no clock before the
first request is whole.  A reverse proxy shields from both; this shields those
who have none.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers of one request; twice what nginx takes in all (4 buffers of 8 KB)."""

MAX_FIELDS = 200

HEAD_LIMIT_S = 20.0
"""From the connection, or the first byte of a further request, until its headers are whole."""

BODY_PAUSE_S = 30.0
"""Longest silence within a body; slow senders of large messages are welcome, silent ones are not."""


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a bounded head and a clock on the client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on as they come
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Start the clock: a client that says nothing is cut off."""
        super().connection_made(transport)
        self._wait_at_most(HEAD_LIMIT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._wait_at_most(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the head has grown too large."""
        if self._in_head:
            if self._head_bytes == 0:
                self._wait_at_most(HEAD_LIMIT_S)
            self._head_bytes += len(data)
        elif self._in_body:
            self._wait_at_most(BODY_PAUSE_S)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._in_body = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, up to a number of them."""
        if len(self.headers) < MAX_FIELDS:
            super().on_header(name, value)
        elif not self.transport.is_closing():
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Start the request; a refused one is not started."""
        if self.transport.is_closing():
            return
        self._in_head, self._in_body = False, True
        self._head_bytes = 0
        self._wait_at_most(BODY_PAUSE_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: now it is our turn."""
        self._in_head, self._in_body = True, False
        self._wait_at_most(None)
        if self.cycle is not None:
            super().on_message_complete()

    def _wait_at_most(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        answering = bool(self.cycle) and not self.cycle.response_complete
        # A client whose body we are not reading, or whom we still owe an answer, is not the one that is late.
        if self.flow.read_paused or (answering and not self._in_body):
            self._wait_at_most(BODY_PAUSE_S)
            return
        self.transport.close()

    def _refuse_head(self) -> None:
        self._wait_at_most(None)
        text = b"The request's headers are too large."
        # RFC 6585 §5
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)
        )
        self.transport.close()
