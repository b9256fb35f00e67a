"""Reserve what is drawn for a mail that comes in, so that the same mail again is given the same.

A client that did not see our 250 sends the same bytes once more; whatever is done for them
is harmless then.  The ruling of scanners is reserved too.

Whoever has one return path could fill the store through it.  So the reservations of mail
about one message have places, found by the mail's digest, and what finds neither itself
nor a free place is refused.  That counts without a counter: a mail writes one reservation
as any other does, and a place is free again when its reservation expires.  Each kind of
report has places of its own: no number of delay notices or automatic answers keeps out
the bounce that comes after them.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from shared.domain.errors import EnoughReported, StorageUnavailable
from shared.domain.headers import Head, is_head_short
from shared.domain.ids import draw_ids, draw_token
from shared.domain.incoming import About, Destination, Incoming, ToReports, ToRoute
from shared.domain.incoming_head import head_of, message_id_of
from shared.flow.receiving import Receiving
from shared.ports import Bodies
from shared.store.reservations import Reservation

log = logging.getLogger(__name__)

MAX_BELIEVED = 5
"""Different mails that report the same of one message and are kept in the week that reservations live: the first
has told all."""

MAX_UNBELIEVED = 20
"""All others about it: a few hosts on the way may each tell of a delay once a day, and a recipient's machine may
answer."""


class Reserved(NamedTuple):
    """What is reserved for a mail."""

    reservation: Reservation
    key: str
    """Where it lies; empty for a mail that is never the same as another."""

    head: Head
    """The mail's own."""


class Fingerprint(NamedTuple):
    """What there is of a mail's bytes in its digests, made once for all its recipients."""

    sha256: bytes
    has_message_id: bool


def fingerprint(raw: bytes) -> Fingerprint:
    """Return the fingerprint of a mail as it came: a repetition has the same bytes, trace fields included."""
    return Fingerprint(hashlib.sha256(raw).digest(), bool(message_id_of(head_of(raw))))


def digest_of(to: Destination, rcpt_to: str, mail_from: str, mail: Fingerprint) -> str:
    """Return what makes a repeated mail the same one; empty for a letter without Message-ID.

    Without an id, two letters of the same bytes may well be two (RFC 5322 §3.6.4 wants one in each).
    Of two such reports the second says nothing, and each time that one is tried again it would take another place.

    Args:
        to: where the address leads.
        rcpt_to: envelope recipient.
        mail_from: envelope sender.
        mail: its bytes.
    """
    for_people = isinstance(to, ToRoute) or (isinstance(to, ToReports) and to.otherwise is not None)
    if for_people and not mail.has_message_id:
        return ""
    envelope = f"{mail_from}\n{rcpt_to}\n\n"  # no address holds a line end
    return hashlib.sha256(envelope.encode() + mail.sha256).hexdigest()


async def reserve(incoming: Incoming, *, using: Receiving, now: datetime) -> Reserved:
    """Reserve what is drawn for the mail, and store its body: the same again for a repeated one.

    The ruling is among it: a scanner may say something else of the same bytes a minute
    later, and one mail cannot be both refused and delivered.

    Raises:
        EnoughReported: more has come about its message than is kept.
        NotFound: its server is gone.
        StorageUnavailable: nothing was promised.
    """
    server = (await using.tenant(incoming)).server
    head = await _head(incoming.raw)
    drawn = draw_ids(now, 1, using.rng)
    new = Reservation(
        digest=incoming.digest,
        message_id=message_id_of(head),
        body_key=f"{server.id}/{drawn[0]}-{draw_token(using.rng, 8)}",
        recipients=[incoming.rcpt_to],
        ids=drawn,
        tokens=[draw_token(using.rng)],
        at=now,
        ruling=incoming.ruling,
    )
    body = _Body(incoming.raw, expires_at=now + using.settings.body_retention, bodies=using.stores.bodies)
    for key in _keys(incoming):
        known = await using.reservations.get(server.id, key)
        if known is None:
            # At once, because neither needs the other: a reservation whose body never came is given it below.
            _, first = await asyncio.gather(body.store(new.body_key), using.reservations.put(server.id, key, new))
            if first:
                return Reserved(new, key, head)
            # Another session was faster, a moment ago.
            known = await using.reservations.get(server.id, key)
        if known is not None and incoming.digest and known.digest == incoming.digest:
            await body.drop()
            await body.store_if_missing(known.body_key)
            return Reserved(known, key, head)
    if incoming.about is None and not incoming.digest:
        await body.store(new.body_key)
        return Reserved(new, "", head)
    await body.drop()
    if incoming.about is None:
        raise StorageUnavailable("the reservation of this mail is gone again")
    log.warning("enough_reported", extra={"server_id": server.id, "message_id": incoming.about.message_id})
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


async def _head(raw: bytes) -> Head:
    """Return the head; a large one takes a while."""
    if is_head_short(raw):
        return head_of(raw)
    return await asyncio.to_thread(head_of, raw)


def _keys(incoming: Incoming) -> Sequence[str]:
    """Return where the mail's reservation may lie, in the order in which the places are tried."""
    # No Idempotency-Key of a customer's can hold a line end, so none is ever the same.
    if incoming.about is not None:
        return _places(incoming.about, incoming.digest)
    return [f"incoming\n{incoming.digest}"] if incoming.digest else []


def _places(about: About, digest: str) -> Sequence[str]:
    count = MAX_BELIEVED if about.reports else MAX_UNBELIEVED
    first = int(digest[:8], 16) if digest else 0
    return [f"about\n{about.message_id}\n{about.reports}\n{(first + step) % count}" for step in range(count)]
