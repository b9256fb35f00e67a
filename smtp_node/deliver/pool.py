"""Open connections kept for the next message to the same host.

A connection costs a round trip per handshake and, with TLS, a millisecond of CPU;
most mail goes to few hosts.  Connections are shared only between peers with the same
key: address, source, EHLO name, TLS mode and login.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

from smtp_node.deliver.connect import connect
from smtp_node.deliver.connection import Connection, Peer
from smtp_node.deliver.conversation import Conversation
from smtp_node.deliver.limits import PoolLimits, Timeouts
from smtp_node.deliver.tls import TLSContexts


class Pool:
    """Lends connections, one holder at a time; close it to say QUIT to all."""

    def __init__(
        self, contexts: TLSContexts, *, timeouts: Timeouts | None = None, limits: PoolLimits | None = None
    ) -> None:
        self._contexts = contexts
        self.timeouts = timeouts or Timeouts()
        self._limits = limits or PoolLimits()
        self._idle: OrderedDict[Connection, asyncio.TimerHandle] = OrderedDict()
        self._by_key: dict[Hashable, list[Connection]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> int:
        """How many unused connections are open."""
        return len(self._idle)

    def reuse(self, peer: Peer, conversation: Conversation) -> Connection | None:
        """Return an open connection to the peer, the one used last, or None."""
        while kept := self._by_key.get(peer.key):
            connection = kept[-1]
            self._forget(connection)
            if connection.usable:
                connection.conversation = conversation
                secured = f", {connection.tls}" if connection.tls else ""
                conversation.note(
                    f"connection to {peer.host} [{peer.address}]:{peer.port} used again,"
                    f" message {connection.messages + 1}{secured}"
                )
                return connection
            connection.abort()
        return None

    async def open(self, peer: Peer, conversation: Conversation) -> Connection:
        """Return a new connection, ready for MAIL.

        Raises:
            Broken: no connection, or it was lost.
            NotReady: the host refused, or TLS or AUTH could not be had as demanded.
        """
        return await connect(peer, self._contexts, self.timeouts, conversation)

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for a while, or close it if it is of no further use."""
        # The attempt's record must not grow by what comes later.
        connection.conversation = Conversation()
        if not connection.usable or connection.messages >= self._limits.max_messages:
            self._close(connection)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._limits.max_idle.total_seconds(), self._expire, connection)
        self._idle[connection] = timer
        self._by_key.setdefault(connection.peer.key, []).append(connection)
        if len(self._idle) > self._limits.max_idle_connections:
            self._expire(next(iter(self._idle)))

    async def close(self) -> None:
        """Say QUIT on every unused connection and wait until all are closed."""
        for connection in list(self._idle):
            self._expire(connection)
        await asyncio.gather(*self._closing)

    def _expire(self, connection: Connection) -> None:
        self._forget(connection)
        self._close(connection)

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection).cancel()
        kept = self._by_key[connection.peer.key]
        kept.remove(connection)
        if not kept:
            del self._by_key[connection.peer.key]

    def _close(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.quit(self.timeouts.quit_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
