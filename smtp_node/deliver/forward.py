"""Incoming mail that a route sends to a host or to another address: what goes on the wire.

The mail is passed on as it came, under our return path, so that SPF holds and bounces come
back here; ``Delivered-To`` marks it, so that it does not go round; and it is sealed.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime

from shared.domain.errors import InvalidValue, MalformedMessage, StorageUnavailable
from shared.domain.forwarding import LOOP, decide, delivered_to, loops
from shared.domain.job import ToInbound
from shared.domain.message import Evidence, Message
from shared.domain.outcome import HardFail, Outcome
from shared.domain.routes import AddressTarget, current_target
from shared.domain.tenancy import Domain
from shared.flow.claim import Claimed
from shared.flow.queues import target_of
from shared.flow.settle import Settling
from shared.flow.token_keys import TokenSource
from shared.store.directory import Directory
from shared.store.routes import Routes
from shared.tokens import Named
from smtp_node.authentication.keys import SigningKey, SigningKeys
from smtp_node.authentication.seal import seal, sealing_key
from smtp_node.deliver.plan import Plan

log = logging.getLogger(__name__)

BODY_GONE = "Raw message has been removed. Cannot send message."
OFF_LOOP_BYTES = 262_144


async def plan_forward(
    claimed: Claimed,
    *,
    settling: Settling,
    directory: Directory,
    keys: SigningKeys,
    tokens: TokenSource,
    ehlo: str,
    source_address: str | None,
    at: datetime,
) -> Plan | Outcome:
    """Return what to send and where, or what becomes of the message without that.

    The plan knows no smart host yet.

    Args:
        claimed: an incoming message.
        settling: stores and settings.
        directory: tenancy as it is now.
        keys: signing keys of all domains.
        tokens: sign return paths.
        ehlo: our name.
        source_address: local address to send from; None lets the system choose.
        at: the moment of sealing.

    Raises:
        StorageUnavailable: the message could not be read.
    """
    message, settings = claimed.message, settling.settings
    route = await Routes(settling.stores.records).of_message(message)
    decided = decide(message, claimed.tenant, route)
    if decided is not None:
        return decided
    if route is not None:
        message = replace(message, endpoint=current_target(route, message.endpoint))
    target = target_of(message)
    if isinstance(target, ToInbound):
        return HardFail("The message is for the inbound function, not for a node.")
    raw = await settling.stores.bodies.get(message.body_key)
    if raw is None:
        return HardFail(BODY_GONE)
    if loops(raw, message.rcpt_to):
        return HardFail(LOOP, evidence=Evidence(enhanced_code="5.4.6"))
    domain = await directory.domain(message.domain, claimed.tenant.server) if message.domain else None
    key = _key(keys, domain) if domain else None
    if len(raw) > OFF_LOOP_BYTES:
        seals = await asyncio.to_thread(_seal, raw, key, settings.hostname, at)
    else:
        seals = _seal(raw, key, settings.hostname, at)
    token = await _return_path(message, tokens, claimed.tenant.server.token)
    return Plan(
        # Mail with a null sender keeps it: a bounce must not cause another (RFC 5321 §4.5.5).
        mail_from=f"{token}@{settings.return_path_domain}" if message.mail_from and not message.bounce else "",
        rcpt_to=message.endpoint.address if isinstance(message.endpoint, AddressTarget) else message.rcpt_to,
        raw=raw,
        target=target,
        ehlo=ehlo,
        added=seals + delivered_to(message.rcpt_to),
        source_address=source_address,
    )


def _key(keys: SigningKeys, domain: Domain) -> SigningKey | None:
    """Return the key to seal with; a seal is help for others, so mail does not wait for one."""
    try:
        return sealing_key(keys.of(domain))
    except InvalidValue:
        log.exception("sealing_key_unusable", extra={"domain": domain.name})
        return None


def _seal(raw: bytes, key: SigningKey | None, authserv_id: str, at: datetime) -> bytes:
    """Return the fields of our seal; no bytes if the mail cannot be sealed."""
    if key is None:
        return b""
    try:
        return seal(raw, key, authserv_id=authserv_id, at=at)
    except MalformedMessage:
        return b""  # it would not verify; the mail is the sender's all the same


async def _return_path(message: Message, tokens: TokenSource, server_token: str) -> str:
    """Return the local part under which bounces come back; the server's where none can be signed now."""
    try:
        return (await tokens.tokens()).return_path(Named(message.server_id, message.id))
    except (InvalidValue, StorageUnavailable):
        log.exception("return_path_unsigned", extra={"message_id": message.id, "server_id": message.server_id})
        return server_token
