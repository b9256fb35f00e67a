"""From nothing to a connection that can take mail: TCP, greeting, EHLO, STARTTLS, AUTH."""

import asyncio
import ssl

from aiosmtplib import SMTPException
from aiosmtplib.auth import auth_login_encode, auth_plain_encode
from aiosmtplib.esmtp import parse_esmtp_extensions

from shared.domain.job import TLSMode
from shared.domain.replies import Stage, Verdict, judge
from smtp_node.deliver.connection import CHECKED_MODES, Connection, Login, NotReady, Peer
from smtp_node.deliver.conversation import Conversation
from smtp_node.deliver.limits import Timeouts
from smtp_node.deliver.protocol import Broken, WireProtocol
from smtp_node.deliver.tls import TLSContexts


async def connect(peer: Peer, contexts: TLSContexts, timeouts: Timeouts, conversation: Conversation) -> Connection:
    """Return a connection that is ready for MAIL.

    In opportunistic mode a TLS failure leads to a second connection in the clear
    (RFC 7435 §3); in the checked modes never.

    Raises:
        Broken: no connection, or it was lost.
        NotReady: the host refused, or TLS or AUTH could not be had as demanded.
    """
    try:
        return await _connect(peer, contexts, timeouts, conversation, starttls=peer.tls is not TLSMode.TLS)
    except _NoTLS as exc:
        if peer.tls in CHECKED_MODES:
            raise NotReady(exc.sentence, exc.reply) from exc
        conversation.note(f"{exc.sentence}; connecting again without TLS")
    return await _connect(peer, contexts, timeouts, conversation, starttls=False)


class _NoTLS(NotReady):
    """STARTTLS was refused, or the handshake failed."""


async def _connect(
    peer: Peer, contexts: TLSContexts, timeouts: Timeouts, conversation: Conversation, *, starttls: bool
) -> Connection:
    protocol = await _open(peer, contexts, timeouts, conversation)
    connection = Connection(peer, protocol, conversation)
    try:
        await _greet(connection, timeouts)
        await _say_hello(connection, timeouts)
        if starttls and peer.tls is not TLSMode.NONE:
            await _start_tls(connection, contexts, timeouts)
        if peer.login is not None:
            await _log_in(connection, peer.login, timeouts)
    except BaseException:
        connection.abort()
        raise
    return connection


async def _open(peer: Peer, contexts: TLSContexts, timeouts: Timeouts, conversation: Conversation) -> WireProtocol:
    source = f" from {peer.source_address}" if peer.source_address else ""
    conversation.note(f"connecting to {peer.host} [{peer.address}]:{peer.port}{source}")
    context = contexts.for_mode(peer.tls) if peer.tls is TLSMode.TLS else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeouts.connect_s):
            _, protocol = await loop.create_connection(
                lambda: WireProtocol(loop),
                peer.address,
                peer.port,
                ssl=context,
                server_hostname=peer.host if context else None,
                local_addr=(peer.source_address, 0) if peer.source_address else None,
            )
    except OSError as exc:
        reason = _connect_reason(exc)
        conversation.note(reason)
        raise Broken(reason) from exc
    return protocol


async def _greet(connection: Connection, timeouts: Timeouts) -> None:
    try:
        greeting = await connection.protocol.greeting(timeouts.greeting_s)
    except Broken as exc:
        connection.conversation.note(f"instead of a greeting: {exc.reason}")
        raise
    connection.heard(greeting)
    if judge(greeting, Stage.GREETING) is not Verdict.GO_ON:
        raise NotReady("the host refused the connection", greeting)


async def _say_hello(connection: Connection, timeouts: Timeouts) -> None:
    name = connection.peer.ehlo
    reply = await connection.ask(Stage.EHLO, f"EHLO {name}", timeouts.greeting_s)
    if judge(reply, Stage.EHLO) is Verdict.GO_ON:
        connection.extensions = parse_esmtp_extensions(reply.text)[0]
        return
    # RFC 5321 §3.2: a host that does not know EHLO may know HELO.
    if 500 <= reply.code <= 599:
        reply = await connection.ask(Stage.EHLO, f"HELO {name}", timeouts.greeting_s)
        if judge(reply, Stage.EHLO) is Verdict.GO_ON:
            return
    raise NotReady("the host refused our greeting", reply)


async def _start_tls(connection: Connection, contexts: TLSContexts, timeouts: Timeouts) -> None:
    peer, conversation = connection.peer, connection.conversation
    if "starttls" not in connection.extensions:
        if peer.tls in CHECKED_MODES:
            # RFC 8314 §4.1: a demanded TLS that is not offered may have been stripped on the way.
            raise NotReady("the host does not offer STARTTLS, which is required")
        return
    conversation.command("STARTTLS")
    try:
        await connection.protocol.start_tls(
            contexts.for_mode(peer.tls), server_hostname=peer.host, timeout=timeouts.connect_s
        )
    except (SMTPException, OSError) as exc:
        conversation.note(f"TLS failed: {_tls_reason(exc)}")
        raise _NoTLS(f"TLS failed: {_tls_reason(exc)}") from exc
    conversation.note(f"now {connection.tls}")
    # RFC 3207 §4.2: all that was said before TLS is forgotten.
    connection.extensions = {}
    try:
        await _say_hello(connection, timeouts)
    except Broken as exc:
        # In TLS 1.3 a host may refuse the handshake after we thought it done.
        raise _NoTLS(f"TLS failed: {exc.reason}") from exc


async def _log_in(connection: Connection, login: Login, timeouts: Timeouts) -> None:
    offered = connection.extensions.get("auth", "").upper().split()
    if "PLAIN" in offered:
        line = "AUTH PLAIN " + auth_plain_encode(login.username, login.password).decode("ascii")
        reply = await connection.ask(Stage.AUTH, line, timeouts.greeting_s, shown="AUTH PLAIN ****")
    elif "LOGIN" in offered:
        username, password = (part.decode("ascii") for part in auth_login_encode(login.username, login.password))
        reply = await connection.ask(Stage.AUTH, "AUTH LOGIN", timeouts.greeting_s)
        for line in (username, password):
            if reply.code == 334:
                reply = await connection.ask(Stage.AUTH, line, timeouts.greeting_s, shown="****")
    else:
        raise NotReady("the smart host offers neither AUTH PLAIN nor AUTH LOGIN")
    if judge(reply, Stage.AUTH) is not Verdict.GO_ON:
        raise NotReady("the smart host refused our login", reply)


def _connect_reason(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {_tls_reason(exc)}"
    if isinstance(exc, TimeoutError):
        return "the connection timed out"
    if isinstance(exc, ConnectionRefusedError):
        return "the connection was refused"
    return f"no connection: {exc.strerror or type(exc).__name__}"


def _tls_reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted ({exc.verify_message})"
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "handshake failed").lower().replace("_", " ")
    return str(exc) or type(exc).__name__
