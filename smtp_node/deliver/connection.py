"""A connection to a remote host, and the name under which it may be shared."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from shared.domain.job import TLSMode
from shared.domain.replies import Reply, Stage
from smtp_node.deliver.conversation import Conversation
from smtp_node.deliver.protocol import Broken, WireProtocol
from smtp_node.deliver.tls import described

CHECKED_MODES = (TLSMode.STARTTLS, TLSMode.TLS)


@dataclass(frozen=True, slots=True)
class Login:
    """What a smart host asks for."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to connect, from where, and how."""

    host: str
    address: str
    port: int
    tls: TLSMode
    ehlo: str
    source_address: str | None = None
    login: Login | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What two peers must share to use one connection: a name counts only if a certificate was held to it."""
        name = self.host if self.tls in CHECKED_MODES else ""
        return (self.source_address, self.ehlo, self.address, self.port, self.tls, self.login, name)


class NotReady(Exception):
    """The host is there but will not take mail from us now; ``reply`` if it said why."""

    def __init__(self, sentence: str, reply: Reply | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reply = reply


class Connection:
    """An open connection after EHLO (and TLS and AUTH); one transaction at a time."""

    def __init__(self, peer: Peer, protocol: WireProtocol, conversation: Conversation) -> None:
        self.peer = peer
        self.protocol = protocol
        self.conversation = conversation
        self.extensions: Mapping[str, str] = {}
        """ESMTP keywords in lower case with their parameters."""

        self.messages = 0
        """Transactions begun on it."""

        self.needs_reset = False
        self.finished = False
        """No further transaction may be begun."""

    @property
    def usable(self) -> bool:
        """Whether another transaction may be begun, as far as we can see."""
        return self.protocol.is_connected and not self.finished

    @property
    def tls(self) -> str:
        """Version and cipher, or an empty string."""
        return described(cast("ssl.SSLObject | None", self._extra("ssl_object")))

    @property
    def source_address(self) -> str:
        """The local address that the remote sees, but for NAT."""
        name = cast("tuple[str, int] | None", self._extra("sockname"))
        return name[0] if name else ""

    async def ask(self, stage: Stage, line: str, timeout_s: float, *, shown: str = "", written: bool = False) -> Reply:
        """Send a command, record it with its reply, and return the reply.

        A line with secrets is recorded as ``shown``; one that was ``written`` ahead is
        not sent again.

        Raises:
            Broken: the connection is of no use any more.
        """
        self.conversation.command(shown or line)
        try:
            if written:
                reply = await self.protocol.ahead_reply(timeout_s)
            else:
                reply = await self.protocol.ask(line.encode("utf-8"), timeout_s)
        except Broken as exc:
            self.conversation.note(f"after {stage.value}: {exc.reason}")
            raise
        self.heard(reply)
        return reply

    def heard(self, reply: Reply) -> None:
        """Record a reply; after 421 the connection is not used again (RFC 5321 §3.8)."""
        self.conversation.reply(reply)
        if reply.closing:
            self.finished = True

    async def quit(self, timeout_s: float) -> None:
        """Say QUIT and close; nothing depends on the answer."""
        try:
            if self.usable:
                await self.protocol.ask(b"QUIT", timeout_s)
        except Broken:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.finished = True
        self.protocol.abort()

    def _extra(self, name: str) -> object:
        transport = self.protocol.transport
        return None if transport is None else transport.get_extra_info(name)
