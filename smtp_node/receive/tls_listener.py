"""Connections that begin with TLS (port 465): limits first, then the handshake, then a session.

asyncio's own server does the handshake before anybody can count the
connection, and keeps one certificate for ever; so this accepts by itself.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from smtp_node.receive.connection import LINGER_S, Connection
from smtp_node.receive.gate import client_at
from smtp_node.receive.house import House
from smtp_node.receive.metering import TLS_CONNECTIONS

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""After the system could not accept, such as for want of file descriptors (asyncio waits as long)."""


class TLSListener:
    """Accepts from one socket until it is closed."""

    def __init__(self, listening: socket.socket, house: House, make: Callable[[], Connection]) -> None:
        self._listening = listening
        self._house = house
        self._make = make
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Stop accepting, end handshakes, close the socket; sessions go on."""
        for task in (self._accepting, *self._handshakes):
            task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(self._listening)
            except OSError:
                log.exception("smtp_accept_failed")
                await asyncio.sleep(PAUSE_S)
                continue
            task = loop.create_task(self._admit(accepted, peer[0]))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _admit(self, accepted: socket.socket, host: str) -> None:
        connection = self._make()
        if connection.enter(client_at(host)) is not None:
            # There is no way to say 421 before the handshake, and that is what would cost.
            accepted.close()
            return
        established = False
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._house.tls.current(),
                ssl_handshake_timeout=self._house.limits.handshake.total_seconds(),
                ssl_shutdown_timeout=LINGER_S,
            )
            established = True
            self._house.meter.count(TLS_CONNECTIONS)
        except OSError as exc:  # ssl.SSLError and TimeoutError are OSErrors
            log.debug("smtp_handshake_failed", extra={"trace_id": connection.trace_id, "reason": type(exc).__name__})
        finally:
            if not established:
                connection.leave()
