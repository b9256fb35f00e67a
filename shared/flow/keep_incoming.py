"""Keep a mail that came in: body and reservation, record, and only then what follows from it.

The reservation holds what was drawn for the mail.  A client that did not see our 250
sends the same bytes again; it is given the same ids then, and every later step is
harmless when it is repeated.  So a crash anywhere leaves one copy or none, and what was
answered with 250 is there.

Whoever has one return path could fill the store through it.  So the reservations of mail
about one message have ``MAX_ABOUT_ONE`` places, found by the mail's digest, and what finds
neither itself nor a free place is refused.  That counts without a counter: a mail writes
one reservation as any other does, and a place is free again when its reservation expires.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from shared.domain.errors import EnoughReported, MalformedMessage, NotFound, StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.headers import Head, split_head
from shared.domain.ids import draw_ids, draw_token
from shared.domain.incoming import Incoming, spf_passed
from shared.domain.letter import MAX_SUBJECT
from shared.domain.message import Delivery, Direction, Message, Status
from shared.domain.routes import Target
from shared.domain.tenancy import Tenant
from shared.flow.accept import Acceptance
from shared.flow.token_keys import TokenSource
from shared.ports import Bodies, Outgoing, Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.reservations import Reservation, Reservations

log = logging.getLogger(__name__)

MAX_ID_DRAWS = 5
MAX_ABOUT_ONE = 20
"""Different mails about one message that are kept in the week that reservations live: a few hosts on the way
may each tell of a delay once a day, and a recipient's machine may answer."""

MAX_DETAILS = 250
MAX_OUTPUT = 512
MAX_DIGESTED_ID = 250
QUICK_HEAD_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Receiving:
    """What taking mail in needs."""

    stores: Stores
    directory: Directory
    messages: Messages
    reservations: Reservations
    settings: Settings
    rng: random.Random
    tokens: TokenSource

    @classmethod
    def beside(cls, acceptance: Acceptance, tokens: TokenSource) -> "Receiving":
        """Return it over what accepting has."""
        return cls(
            acceptance.stores,
            acceptance.directory,
            acceptance.messages,
            acceptance.reservations,
            acceptance.settings,
            acceptance.rng,
            tokens,
        )

    async def tenant(self, incoming: Incoming) -> Tenant:
        """Return whose mail it is.

        Raises:
            NotFound: the server was removed since the recipient was named.
        """
        tenant = await self.directory.tenant(incoming.server_id)
        if tenant is None:
            raise NotFound("the server of this address is gone")
        return tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a mail that is kept."""

    status: Status
    details: str
    """A sentence for its first row; empty for no row."""

    output: str = ""
    """What the row shows beside it, at most ``MAX_OUTPUT`` characters."""

    hold_expires_at: datetime | None = None
    bounce: bool = False
    endpoint: Target | None = None
    """Where this copy goes."""


Step = Callable[[Message], Awaitable[None]]
"""Something to be done with the kept message; may be done again with the same one."""


class Reserved(NamedTuple):
    """What is reserved for a mail."""

    reservation: Reservation
    key: str
    """Where it lies; empty for a mail that is never the same as another."""


async def keep(
    incoming: Incoming,
    fate: Fate,
    *,
    before: Step | None = None,
    after: Step | None = None,
    reserved: Reserved | None = None,
    using: Receiving,
    now: datetime,
) -> Message:
    """Store the mail and return its record.  Twice with the same digest: the same record.

    Args:
        incoming: the mail.
        fate: its status and why.
        before: runs when the record is about to be written, such as what wakes a held message.
        after: runs once the record is there: jobs and events.
        reserved: what ``reserve`` gave for this mail, if it was asked before.
        using: what taking in needs.
        now: when it came.

    Raises:
        EnoughReported: more has come about its message than is kept.
        NotFound: its server is gone.
        StorageUnavailable: nothing was promised.
    """
    server = (await using.tenant(incoming)).server
    head = await _head_of(incoming)
    reservation, key = reserved or await _reserve(incoming, head, using=using, now=now)
    message = _message(incoming, head, fate, reservation)
    rows = [_row(message, fate, using=using, now=now)] if fate.details else []
    for _ in range(MAX_ID_DRAWS):
        if before is not None:
            await before(message)
        if await using.messages.add(server, message, expires_at=now + using.settings.message_retention, rows=rows):
            break
        message = replace(message, id=draw_ids(now, 1, using.rng)[0])
        if incoming.digest:
            # Before the record: a repetition must come to the same id.
            await using.reservations.finish(server.id, key, [message.id])
    else:
        raise StorageUnavailable("no free message id was found")
    if after is not None:
        await after(message)
    return message


async def tell(events: Iterable[Event], *, using: Receiving) -> None:
    """Put events on their queue.  Twice: they have the same ids."""
    if some := [Outgoing(each.to_json(), group=str(each.server_id)) for each in events]:
        await using.stores.events.send(some)


def received_event(message: Message, details: str, now: datetime) -> Event:
    """Return the event of a mail that came in."""
    return Event(EventKind.RECEIVED, message.server_id, message.id, 1, now, details=details)


def fingerprint(raw: bytes) -> bytes:
    """Return a hash of what the client sent; empty for a mail that has no Message-ID.

    A repetition has the same bytes, trace fields included.  Without an id, two mails of
    the same bytes may well be two (RFC 5322 §3.6.4 wants one in each).
    """
    return hashlib.sha256(raw).digest() if _message_id(_head(raw)) else b""


def digest_of(rcpt_to: str, mail_from: str, print_: bytes) -> str:
    """Return what makes a repeated mail the same one for a recipient; empty without a ``fingerprint``."""
    envelope = f"{mail_from}\n{rcpt_to}\n\n"  # no address holds a line end
    return hashlib.sha256(envelope.encode() + print_).hexdigest() if print_ else ""


async def reserve(incoming: Incoming, *, using: Receiving, now: datetime) -> Reserved:
    """Reserve what is drawn for the mail, and store its body: the same again for a repeated one.

    The ruling is among it: a scanner may say something else of the same bytes a minute
    later, and one mail cannot be both refused and delivered.

    Raises:
        EnoughReported: more has come about its message than is kept.
        NotFound: its server is gone.
        StorageUnavailable: nothing was promised.
    """
    return await _reserve(incoming, await _head_of(incoming), using=using, now=now)


async def _reserve(incoming: Incoming, head: Head, *, using: Receiving, now: datetime) -> Reserved:
    server = (await using.tenant(incoming)).server
    drawn = draw_ids(now, 1, using.rng)
    new = Reservation(
        digest=incoming.digest,
        message_id=_message_id(head),
        body_key=f"{server.id}/{drawn[0]}-{draw_token(using.rng, 8)}",
        recipients=[incoming.rcpt_to],
        ids=drawn,
        tokens=[draw_token(using.rng)],
        at=now,
        ruling=incoming.ruling,
    )
    body = _Body(incoming.raw, expires_at=now + using.settings.body_retention, bodies=using.stores.bodies)
    for key in _keys(incoming, using.rng):
        known = await using.reservations.get(server.id, key)
        if known is None:
            # At once, because neither needs the other: a reservation whose body never came is given it below.
            _, first = await asyncio.gather(body.store(new.body_key), using.reservations.put(server.id, key, new))
            if first:
                return Reserved(new, key)
            # Another session was faster, a moment ago.
            known = await using.reservations.get(server.id, key)
        if known is not None and incoming.digest and known.digest == incoming.digest:
            await body.drop()
            await body.store_if_missing(known.body_key)
            return Reserved(known, key)
    if incoming.about is None and not incoming.digest:
        await body.store(new.body_key)
        return Reserved(new, "")
    await body.drop()
    if incoming.about is None:
        raise StorageUnavailable("the reservation of this mail is gone again")
    log.warning("enough_reported", extra={"server_id": server.id, "message_id": incoming.about})
    raise EnoughReported("more mail has come about this message than is kept")


class _Body:
    """A mail's bytes, stored once if at all."""

    def __init__(self, raw: bytes, *, expires_at: datetime, bodies: Bodies) -> None:
        self._raw = raw
        self._expires_at = expires_at
        self._bodies = bodies
        self._stored = ""

    async def store(self, key: str) -> None:
        if not self._stored:
            self._stored = key
            await self._bodies.put(key, self._raw, expires_at=self._expires_at)

    async def store_if_missing(self, key: str) -> None:
        if await self._bodies.get(key) is None:
            await self._bodies.put(key, self._raw, expires_at=self._expires_at)

    async def drop(self) -> None:
        if self._stored:
            await self._bodies.delete(self._stored)


def _keys(incoming: Incoming, rng: random.Random) -> Sequence[str]:
    """Return where the mail's reservation may lie, in the order in which the places are tried."""
    # No Idempotency-Key of a customer's can hold a line end, so none is ever the same.
    if incoming.about is None:
        return [f"incoming\n{incoming.digest}"] if incoming.digest else []
    first = int(incoming.digest[:8], 16) if incoming.digest else rng.randrange(MAX_ABOUT_ONE)
    return [f"about\n{incoming.about}\n{(first + step) % MAX_ABOUT_ONE}" for step in range(MAX_ABOUT_ONE)]


def _message(incoming: Incoming, head: Head, fate: Fate, reservation: Reservation) -> Message:
    inspection = incoming.ruling.inspection
    return Message(
        server_id=incoming.server_id,
        id=reservation.ids[0],
        token=reservation.tokens[0],
        direction=Direction.INCOMING,
        rcpt_to=incoming.rcpt_to,
        mail_from=incoming.mail_from,
        subject=head.text(b"Subject")[:MAX_SUBJECT],
        message_id=reservation.message_id,
        body_key=reservation.body_key,
        size_bytes=len(incoming.raw),
        origin=incoming.origin,
        status=fate.status,
        attempt=2 if fate.status.final else 1,
        hold_expires_at=fate.hold_expires_at,
        domain=incoming.route.domain if incoming.route else "",
        bounce=fate.bounce,
        route=incoming.route.address if incoming.route else "",
        endpoint=fate.endpoint,
        sender_verified=spf_passed(incoming.authentication),
        inspected=inspection.inspected,
        spam_status=incoming.ruling.status,
        spam_score=inspection.score or 0.0,
        threat=inspection.threat or "",
    )


def _row(message: Message, fate: Fate, *, using: Receiving, now: datetime) -> Delivery:
    return Delivery(
        id=draw_ids(now, 1, using.rng)[0],
        attempt=1,
        status=message.status,
        details=fate.details[:MAX_DETAILS],
        output=fate.output,
        at=now,
        log_id=draw_token(using.rng, 8),
    )


async def _head_of(incoming: Incoming) -> Head:
    """Return the head; a large one takes a while."""
    if incoming.raw.find(b"\r\n\r\n", 0, QUICK_HEAD_BYTES) >= 0 or len(incoming.raw) <= QUICK_HEAD_BYTES:
        return _head(incoming.raw)
    return await asyncio.to_thread(_head, incoming.raw)


def _head(raw: bytes) -> Head:
    """Return the head; an empty one if it cannot be split: bounces of old systems must come in all the same."""
    try:
        return split_head(raw)
    except MalformedMessage:
        return Head((), 0)


def _message_id(head: Head) -> str:
    return head.text(b"Message-ID").strip().strip("<>")[:MAX_DIGESTED_ID]
