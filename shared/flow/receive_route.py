"""Receive for a route: keep the mail and do what the route's mode says.

| mode | what becomes of the mail |
| --- | --- |
| Accept | kept, nothing further |
| Hold | kept until somebody releases it or the hold expires |
| Reject | was refused in the session already |
| Bounce | kept, and given to the inbound function, which fails it and tells the sender |
| Endpoint | one copy for each endpoint, on the queue of whoever takes it there |

Whatever the mode, mail that fails for spam or for a threat is kept without going anywhere, once, and no bounce
is sent; the record that is returned is ``HardFail`` then, and only then.  Spam that its route puts into quarantine
is held by whoever would pass it on, also where the mode is Accept.

A copy's job is sent before its record is written: a record without a job would be lost mail.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from shared.domain.event import Event, EventKind
from shared.domain.forwarding import ACCEPTED
from shared.domain.incoming import Incoming
from shared.domain.message import Message, SpamStatus, Status
from shared.domain.routes import Route, RouteMode, SpamMode, Target
from shared.flow.keep_incoming import MAX_OUTPUT, Fate, Step, keep, received_event, tell
from shared.flow.queues import group_of, next_job, queue_of
from shared.flow.receiving import Receiving
from shared.flow.reserve_incoming import Reserved, reserve
from shared.flow.settle import keep_held
from shared.ports import Outgoing
from shared.store.schedule import Schedule

HELD = "Message has been accepted and is held, as its route says."


async def receive_route(incoming: Incoming, *, using: Receiving, now: datetime) -> Message:
    """Keep a mail for the route it is addressed to; an event tells of it.

    Twice with the same digest: once.

    Raises:
        NotFound: the route's server is gone.
        StorageUnavailable: nothing was promised.
    """
    route = incoming.route
    if route is None:
        raise ValueError("the mail is for no route")

    reserved = await reserve(incoming, using=using, now=now)
    incoming = replace(incoming, ruling=reserved.reservation.ruling)
    if incoming.ruling.failure:
        return await _fail(incoming, reserved, using=using, now=now)
    return await _do_as_mode_says(incoming, route, reserved, using=using, now=now)


async def _do_as_mode_says(
    incoming: Incoming, route: Route, reserved: Reserved, *, using: Receiving, now: datetime
) -> Message:
    async def told(message: Message) -> None:
        await tell([received_event(message, "", now)], using=using)

    match route.mode:
        case RouteMode.ACCEPT if _quarantined(incoming, route):
            return await _send_on(incoming, None, reserved, after=told, using=using, now=now)
        case RouteMode.ACCEPT:
            fate = Fate(status=Status.PROCESSED, details=ACCEPTED)
            return await keep(incoming, fate, after=told, reserved=reserved, using=using, now=now)
        case RouteMode.HOLD:
            server = (await using.tenant(incoming)).server
            until = now + using.settings.hold_expiry / using.settings.time_factor

            async def wake(message: Message) -> None:
                schedule = Schedule(using.stores.records)
                await keep_held(
                    server, message, until, records=using.stores.records, schedule=schedule, settings=using.settings
                )

            fate = Fate(status=Status.HELD, details=HELD, hold_expires_at=until)
            return await keep(incoming, fate, before=wake, after=told, reserved=reserved, using=using, now=now)
        case RouteMode.BOUNCE | RouteMode.REJECT:  # Reject: changed since the recipient was named
            return await _send_on(incoming, None, reserved, after=told, using=using, now=now)
        case RouteMode.ENDPOINT:
            first, *others = route.targets
            message = await _send_on(incoming, first, reserved, after=told, using=using, now=now)
            for number, target in enumerate(others, 1):
                await _send_on(_copy(incoming, number), target, None, after=told, using=using, now=now)
            return message
        case _:
            assert_never(route.mode)


async def _fail(incoming: Incoming, reserved: Reserved, *, using: Receiving, now: datetime) -> Message:
    """Keep a mail that the scanners' answer rules out; it is told of as received and as failed."""
    details, output = incoming.ruling.failure, incoming.ruling.inspection.summary()[:MAX_OUTPUT]

    async def told(message: Message) -> None:
        failed = Event(EventKind.FAILED, message.server_id, message.id, 1, now, details=details, output=output)
        await tell([received_event(message, "", now), failed], using=using)

    fate = Fate(status=Status.HARD_FAIL, details=details, output=output)
    return await keep(incoming, fate, after=told, reserved=reserved, using=using, now=now)


def _quarantined(incoming: Incoming, route: Route) -> bool:
    return incoming.ruling.status is SpamStatus.SPAM and route.spam_mode is SpamMode.QUARANTINE


def _copy(incoming: Incoming, number: int) -> Incoming:
    """Return the mail as the copy for a further endpoint: a repeated mail is the same copy again."""
    # The first copy alone takes a place among the mails about a message, so that all are kept or none.
    return replace(incoming, digest=f"{incoming.digest}.{number}" if incoming.digest else "", about=None)


async def _send_on(
    incoming: Incoming,
    target: Target | None,
    reserved: Reserved | None,
    *,
    after: Step,
    using: Receiving,
    now: datetime,
) -> Message:
    server = (await using.tenant(incoming)).server

    async def send(message: Message) -> None:
        job = next_job(message)
        await queue_of(using.stores, server, message).send([Outgoing(job.to_json(), group=group_of(job))])

    fate = Fate(status=Status.PENDING, details="", endpoint=target)
    return await keep(incoming, fate, before=send, after=after, reserved=reserved, using=using, now=now)
