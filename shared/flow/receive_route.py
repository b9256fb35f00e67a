"""Receive for a route: keep the mail and do what the route's mode says.

| mode | what becomes of the mail |
| --- | --- |
| Accept | kept, nothing further |
| Hold | kept until somebody releases it or the hold expires |
| Reject | was refused in the session already |
"""

from datetime import datetime

from shared.domain.errors import StorageUnavailable
from shared.domain.incoming import Incoming
from shared.domain.message import Message, Status
from shared.domain.routes import RouteMode
from shared.flow.keep_incoming import Fate, Receiving, keep, received_event, tell
from shared.flow.settle import keep_held
from shared.store.schedule import Schedule

ACCEPTED = "Message has been accepted but not sent to any endpoints."
"""Postal's words (app/lib/message_dequeuer/incoming_message_processor.rb)."""

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

    async def told(message: Message) -> None:
        await tell([received_event(message, "", now)], using=using)

    match route.mode:
        case RouteMode.ACCEPT:
            return await keep(
                incoming, Fate(status=Status.PROCESSED, details=ACCEPTED), after=told, using=using, now=now
            )
        case RouteMode.HOLD:
            server = (await using.tenant(incoming)).server
            until = now + using.settings.hold_expiry / using.settings.time_factor

            async def wake(message: Message) -> None:
                schedule = Schedule(using.stores.records)
                await keep_held(
                    server, message, until, records=using.stores.records, schedule=schedule, settings=using.settings
                )

            fate = Fate(status=Status.HELD, details=HELD, hold_expires_at=until)
            return await keep(incoming, fate, before=wake, after=told, using=using, now=now)
    raise StorageUnavailable(f"routes of mode {route.mode.value} are not served by this node")
