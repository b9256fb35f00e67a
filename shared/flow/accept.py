"""Accept: from an authenticated submission to a promise that it will be delivered.

In this order, so that a crash anywhere leaves nothing that was promised and
cannot be kept: body; reservation of ids when there is an idempotency key; jobs;
records; answer.  A job whose record never came is dropped by the node after a
while; a record without a job cannot exist.  What must be equal on every attempt
(Date, Message-ID) is fixed here.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from shared.domain.addresses import checked, domain_of, shown_domains
from shared.domain.errors import (
    IdempotencyKeyReused,
    InvalidValue,
    MessageTooLarge,
    NoRecipients,
    SenderNotAllowed,
    ServerSuspended,
    StillInProgress,
    StorageUnavailable,
    TooManyRecipients,
    Unavailable,
)
from shared.domain.event import Event, EventKind
from shared.domain.headers import Head
from shared.domain.ids import MessageId, ServerId, draw_ids, draw_token
from shared.domain.job import Job, ToMX
from shared.domain.letter import Letter, read_letter
from shared.domain.message import Direction, Message
from shared.domain.message_names import new_message_id
from shared.domain.simulator import is_simulated
from shared.domain.submission import MAX_RECIPIENTS, Accepted, AcceptedMessage, Submission
from shared.domain.suppression import WORDS, Suppression
from shared.domain.tenancy import Domain, Server, Tenant
from shared.flow.queues import work_queue
from shared.ports import Clock, Outgoing, Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.reservations import Reservation, Reservations
from shared.store.suppressions import Suppressions

log = logging.getLogger(__name__)

MAX_ID_DRAWS = 5
SLOW_S = 60.0
"""After this, the jobs are sent once more: nodes drop a job whose record does not come for five minutes."""

OFF_LOOP_BYTES = 262_144
"""Larger messages are read in a thread: 25 MB take a tenth of a second."""

IN_PROGRESS_FOR = timedelta(seconds=60)
"""After this, a repetition finishes what the first request did not."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What accepting needs."""

    stores: Stores
    directory: Directory
    messages: Messages
    reservations: Reservations
    settings: Settings
    rng: random.Random

    @classmethod
    def over(cls, stores: Stores, settings: Settings, *, clock: Clock, rng: random.Random) -> "Acceptance":
        """Return what every door needs over its stores; ``rng`` draws tokens, so it is the system's."""
        records = stores.records
        return cls(stores, Directory(records, clock=clock), Messages(records), Reservations(records), settings, rng)


@dataclass(frozen=True, slots=True)
class _Request:
    """A submission that may be accepted, with what was read from it."""

    submission: Submission
    letter: Letter
    domain: Domain
    recipients: Mapping[str, str]
    """Each recipient once: as the caller wrote it, and as the envelope needs it."""

    ids: Sequence[MessageId]
    """Drawn for the recipients in their order; a repeated request was given others."""

    key: str
    """Idempotency key; empty for none."""

    server: Server
    """The tenant's, with the shards of this moment."""


async def accept(submission: Submission, *, using: Acceptance, now: datetime) -> Accepted:
    """Check a submission, make it durable, and return the ids of its messages.

    Twice with the same idempotency key and request: the same answer, and
    nothing is sent twice.  Twice without a key: two messages each.

    Raises:
        Refused: one of its leaves, see ``shared.domain.errors``.
        StillInProgress: the first request with this key is being worked on.
        StorageUnavailable: nothing was promised.
    """
    request = await _examine(submission, using=using, now=now)
    if request.key and (known := await using.reservations.get(request.server.id, request.key)):
        return _told(await _repeat(known, request, using=using, now=now), await _suppressed(request, using, now))
    reservation = _reserve(request, using=using, now=now)
    suppressed, _ = await asyncio.gather(
        _suppressed(request, using, now),
        using.stores.bodies.put(
            reservation.body_key, request.letter.raw, expires_at=now + using.settings.body_retention
        ),
    )
    if request.key and not await using.reservations.put(request.server.id, request.key, reservation):
        # Another request with this key was faster, a moment ago.
        await using.stores.bodies.delete(reservation.body_key)
        raise StillInProgress("the first request with this Idempotency-Key is in progress")
    return _told(await _store(reservation, request, using=using, now=now), suppressed)


async def _suppressed(request: _Request, using: Acceptance, now: datetime) -> Mapping[str, Suppression]:
    """Return which recipients are suppressed: they are told in the answer, and held before they would be sent."""
    tag = request.submission.tag or request.letter.tag
    suppressions = Suppressions(using.stores.records)
    return await suppressions.holding(request.submission.tenant, tag, request.recipients.values(), now)


def _told(accepted: Accepted, suppressed: Mapping[str, Suppression]) -> Accepted:
    if not suppressed:
        return accepted
    by_address = {address.lower(): WORDS[entry.reason] for address, entry in suppressed.items()}
    messages = {
        written: replace(each, suppressed=by_address.get(checked(written).lower(), ""))
        for written, each in accepted.messages.items()
    }
    return replace(accepted, messages=messages)


async def _examine(submission: Submission, *, using: Acceptance, now: datetime) -> _Request:
    """Refuse what must not be accepted, from the cheapest check to the dearest."""
    if submission.tenant.suspended:
        raise ServerSuspended("the server has been suspended")
    if len(submission.raw) > using.settings.max_message_bytes:
        raise MessageTooLarge(f"the message is over {using.settings.max_message_bytes} bytes")
    recipients = _recipients(submission.recipients)
    ids = draw_ids(now, len(recipients), using.rng)
    unique = uuid.UUID(int=using.rng.getrandbits(128), version=4)
    name = new_message_id(unique, ids, using.settings.return_path_domain)
    read = partial(read_letter, submission.raw, now=now, new_message_id=name)
    letter = await asyncio.to_thread(read) if len(submission.raw) > OFF_LOOP_BYTES else read()
    domain = await check_sender(letter.head, submission.tenant, using.directory)
    key = submission.idempotency_key or letter.idempotency_key
    server = await _with_present_shards(submission.tenant.server, using.directory)
    return _Request(submission, letter, domain, recipients, ids, key, server)


async def _with_present_shards(server: Server, directory: Directory) -> Server:
    """Return the server as it spreads its messages now.

    An SMTP client may have begun its message minutes ago; in a partition where
    nobody looks for it, what was promised would be lost.
    """
    present = await directory.server(server.id)
    return server if present is None else replace(server, shards=present.shards)


def _reserve(request: _Request, *, using: Acceptance, now: datetime) -> Reservation:
    """Draw everything that a repetition must find unchanged."""
    return Reservation(
        digest=request.submission.request_digest,
        message_id=request.letter.message_id,
        body_key=f"{request.server.id}/{request.ids[0]}-{draw_token(using.rng, 8)}",
        recipients=list(request.recipients),
        ids=request.ids,
        tokens=[draw_token(using.rng) for _ in request.ids],
        at=now,
        upload=request.submission.upload,
    )


async def accepted_before(server_id: ServerId, key: str, upload: str, *, using: Acceptance) -> Accepted | None:
    """Return what was answered to the upload's request, once it is done and the upload gone; None if nothing was."""
    known = await using.reservations.get(server_id, key) if key else None
    return _answer(known) if known is not None and known.done and known.upload == upload else None


async def check_sender(head: Head, tenant: Tenant, directory: Directory) -> Domain:
    """Return the verified domain that signs for this sender.

    Every address that any parser could show in From, and in Sender if there is
    one, must be of a verified domain of the server.  Where the server allows
    it, a Sender of a verified domain vouches for any From, as in Postal
    (app/models/server.rb, authenticated_domain_for_address; allow_sender).

    Raises:
        SenderNotAllowed: an address is not the server's, or there is none.
    """
    sender = await _verified(head, b"Sender", tenant, directory)
    if head.named(b"Sender") and sender is None:
        raise SenderNotAllowed("the Sender address is not of a verified domain of this server")
    author = await _verified(head, b"From", tenant, directory)
    if author is not None:
        return author
    if sender is not None and tenant.server.allow_sender and head.named(b"From"):
        return sender
    raise SenderNotAllowed("the From address is not of a verified domain of this server")


async def _verified(head: Head, name: bytes, tenant: Tenant, directory: Directory) -> Domain | None:
    """Return the first domain of the field if all its domains are the tenant's and verified."""
    fields = head.named(name)
    if len(fields) != 1:
        return None
    try:
        shown = sorted(shown_domains(fields[0].value))
    except InvalidValue:
        return None
    domains = [await directory.domain(domain, tenant.server) for domain in shown]
    verified = [domain for domain in domains if domain is not None and domain.verified_at is not None]
    return verified[0] if verified and len(verified) == len(shown) else None


def _recipients(given: Sequence[str]) -> Mapping[str, str]:
    """Return each recipient once: as given, and as the envelope needs it."""
    if not given:
        raise NoRecipients("there are no recipients")
    found: dict[str, str] = {}
    seen: set[str] = set()
    for address in given:
        safe = checked(address)
        if safe.lower() not in seen:
            seen.add(safe.lower())
            found[address] = safe
    if len(found) > MAX_RECIPIENTS:
        raise TooManyRecipients(f"a message may have at most {MAX_RECIPIENTS} recipients")
    return found


async def _repeat(known: Reservation, request: _Request, *, using: Acceptance, now: datetime) -> Accepted:
    """Give the answer of the first request, finishing its work if it died half-way."""
    if known.digest != request.submission.request_digest:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another request")
    if known.done:
        return _answer(known)
    if now - known.at < IN_PROGRESS_FOR:
        raise StillInProgress("the first request with this Idempotency-Key is in progress")
    return await _store(known, request, using=using, now=now)


async def _store(reservation: Reservation, request: _Request, *, using: Acceptance, now: datetime) -> Accepted:
    """Store jobs, then records; a message whose id is another's gets a new one."""
    server = request.server
    expires_at = now + using.settings.message_retention
    stored: dict[str, Message] = {}
    pending = _messages(reservation, request)
    for _ in range(MAX_ID_DRAWS):
        began = asyncio.get_running_loop().time()
        jobs = [_job(message) for message in pending.values()]
        await work_queue(using.stores, server.ip_pool).send(jobs)
        added = await asyncio.gather(
            *(using.messages.add(server, message, expires_at=expires_at) for message in pending.values())
        )
        if asyncio.get_running_loop().time() - began > SLOW_S:
            # This process was stopped, or the storage hung.
            await work_queue(using.stores, server.ip_pool).send(jobs)
        stored |= {written: message for (written, message), new in zip(pending.items(), added, strict=True) if new}
        pending = {written: message for written, message in pending.items() if written not in stored}
        if not pending:
            break
        others = draw_ids(now, len(pending), using.rng)
        pending = {w: replace(m, id=other) for (w, m), other in zip(pending.items(), others, strict=True)}
    else:
        raise StorageUnavailable("no free message id was found")
    settled = replace(reservation, ids=[stored[written].id for written in reservation.recipients])
    if request.key:
        await using.reservations.finish(server.id, request.key, settled.ids)
    await _tell(server, list(stored.values()), using=using, now=now)
    fields = {
        "message_id": settled.ids[0],
        "server_id": server.id,
        "recipients": len(settled.ids),
        "size_bytes": len(request.letter.raw),
        "via": request.submission.origin.via.value,
    }
    log.info("message_accepted", extra=fields)
    return _answer(settled)


def _messages(reservation: Reservation, request: _Request) -> dict[str, Message]:
    """Return the messages to be stored, by recipient as the caller wrote it."""
    submission, letter = request.submission, request.letter
    first = Message(
        server_id=request.server.id,
        id=reservation.ids[0],
        token=reservation.tokens[0],
        direction=Direction.OUTGOING,
        rcpt_to="",
        mail_from="" if submission.bounce else submission.mail_from,
        subject=letter.subject,
        message_id=reservation.message_id,
        body_key=reservation.body_key,
        size_bytes=len(letter.raw),
        origin=submission.origin,
        tag=submission.tag or letter.tag,
        metadata=submission.metadata or letter.metadata,
        track_opens=letter.track_opens if submission.track_opens is None else submission.track_opens,
        track_clicks=letter.track_clicks if submission.track_clicks is None else submission.track_clicks,
        domain=request.domain.name,
        credential_id=submission.credential.id,
        bounce=submission.bounce,
        test_mode=submission.test_mode or letter.test_mode,
    )
    names = zip(reservation.recipients, reservation.ids, reservation.tokens, strict=True)
    return {
        written: replace(
            first,
            id=message_id,
            token=token,
            rcpt_to=request.recipients[written],
            test_mode=first.test_mode or is_simulated(request.recipients[written]),
        )
        for written, message_id, token in names
    }


async def _tell(server: Server, messages: Sequence[Message], *, using: Acceptance, now: datetime) -> None:
    """Put an event of each accepted message on the events queue, if anybody wants it.

    Nothing may fail here any more: the messages are on their way, and a caller
    who was told otherwise would send them again.
    """
    try:
        if not await _wants_to_know(server, using):
            return
        events = [Event(EventKind.ACCEPTED, server.id, each.id, each.attempt, now) for each in messages]
        await using.stores.events.send([Outgoing(each.to_json(), group=str(server.id)) for each in events])
    except Unavailable:
        log.warning("accepted_not_told", exc_info=True, extra={"server_id": server.id, "recipients": len(messages)})


async def _wants_to_know(server: Server, using: Acceptance) -> bool:
    if using.settings.accepted_events == "subscribed":
        return await using.directory.tells_of_acceptance(server.id)
    return using.settings.accepted_events == "always"


def _job(message: Message) -> Outgoing:
    job = Job(message.server_id, message.id, message.attempt, ToMX(domain_of(message.rcpt_to)))
    return Outgoing(job.to_json(), group=str(message.server_id))


def _answer(reservation: Reservation) -> Accepted:
    names = zip(reservation.recipients, reservation.ids, reservation.tokens, strict=True)
    messages = {written: AcceptedMessage(message_id, token) for written, message_id, token in names}
    return Accepted(reservation.message_id, messages)
