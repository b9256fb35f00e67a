"""Suppress: put an address on a list, take it off, and tell.

The command line, the management API and ``follow`` (what deliveries, bounces and
complaints lead to) all come through here, so that every change has a reason, a source
and an event.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.errors import NotFound, StorageUnavailable
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, OrganizationId, ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.one_line import one_line
from shared.domain.suppression import (
    EXPIRING,
    MAX_DETAIL,
    WORDS,
    Change,
    Reason,
    Scope,
    Suppression,
    folded,
    new_suppression,
)
from shared.ports import Outgoing, Queue, Stores
from shared.settings import Settings
from shared.store.servers import Servers
from shared.store.suppressions import MAX_TRIES, SuppressionPage, Suppressions

BY_HAND = "operator"
"""The source of changes that a person made."""


@dataclass(frozen=True, slots=True)
class Suppressing:
    """What changing the lists needs."""

    suppressions: Suppressions
    events: Queue
    settings: Settings
    servers: Servers

    @classmethod
    def over(cls, stores: Stores, settings: Settings) -> "Suppressing":
        """Return it over opened stores."""
        return cls(Suppressions(stores.records), stores.events, settings, Servers(stores.records))

    def expiry(self, reason: Reason, now: datetime) -> datetime | None:
        """Return until when an entry with that reason holds; None for ever."""
        if reason not in EXPIRING:
            return None
        return now + self.settings.suppression_expiry / self.settings.time_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an address is put on a list or taken off."""

    reason: Reason
    source: str = BY_HAND
    """The id of the event that led to it; the same event changes an entry once."""

    detail: str = ""
    message_id: MessageId | None = None


async def suppress(
    scope: Scope, address: str, cause: Cause, *, until: datetime | None, using: Suppressing, now: datetime
) -> Suppression:
    """Put an address on a list, or renew why and how long it is there.

    An entry that holds for ever is not shortened, and a complaint or an
    unsubscription is not replaced by a bounce.  Twice from the same event:
    nothing more, even if somebody took the address off meanwhile.

    Raises:
        InvalidValue: not an address.
        StorageUnavailable: others were changing the same entry, or the store is away.
    """
    change = Change(
        now, added=True, reason=cause.reason, source=cause.source, detail=one_line(cause.detail, MAX_DETAIL)
    )
    for _ in range(MAX_TRIES):
        old = await using.suppressions.get(scope, address)
        if old is not None and cause.source != BY_HAND and old.knows(cause.source):
            if old.source == cause.source:
                # The event may have been lost after the write: it has the same id.
                await _tell(old, old.history[-1], cause, using)
            return old
        if old is not None and old.holds(now) and _is_weaker(cause.reason, until, old):
            return old
        new = (
            new_suppression(scope, address, change, until=until)
            if old is None
            else old.with_change(change, until=until)
        )
        if await using.suppressions.replace(old, new):
            await _tell(new, change, cause, using)
            return new
    raise StorageUnavailable("others were changing the suppression of the same address")


async def unsuppress(scope: Scope, address: str, cause: Cause, *, using: Suppressing, now: datetime) -> Suppression:
    """Take an address off a list; its history stays.

    Raises:
        InvalidValue: not an address.
        NotFound: it is not on that list.
        StorageUnavailable: others were changing the same entry, or the store is away.
    """
    change = Change(
        now, added=False, reason=cause.reason, source=cause.source, detail=one_line(cause.detail, MAX_DETAIL)
    )
    for _ in range(MAX_TRIES):
        old = await using.suppressions.get(scope, address)
        if old is None or not old.active:
            raise NotFound(f"{folded(address)} is not on the suppression list of this {scope.name}")
        new = old.with_change(change)
        if await using.suppressions.replace(old, new):
            await _tell(new, change, cause, using)
            return new
    raise StorageUnavailable("others were changing the suppression of the same address")


async def list_suppressions(
    scope: Scope, *, using: Suppressing, cursor: str | None = None, limit: int = 100
) -> SuppressionPage:
    """Return some entries of the scope's owner and the cursor of the next ones; a page may hold fewer."""
    return await using.suppressions.page(scope, cursor, limit=limit)


def _change(cause: Cause, now: datetime, *, added: bool) -> Change:
    detail = one_line(cause.detail, MAX_DETAIL)
    return Change(now, added=added, reason=cause.reason, source=cause.source, detail=detail)


def _is_weaker(reason: Reason, until: datetime | None, old: Suppression) -> bool:
    """Whether the new reason would only shorten or blur what is there."""
    if old.until is None:
        return until is not None or old.reason == reason
    return until is not None and until <= old.until


async def _tell(entry: Suppression, change: Change, cause: Cause, using: Suppressing) -> None:
    """Send the event of a change: the same id for the same change."""
    scope = entry.scope
    name = f"{scope.owner}{scope.owner_id}#{scope.stream}#{entry.address}#{to_ms(change.at)}#{change.source}"
    event = Event(
        kind=EventKind.SUPPRESSION_ADDED if change.added else EventKind.SUPPRESSION_REMOVED,
        server_id=ServerId(scope.owner_id),
        message_id=cause.message_id or MessageId(0),
        attempt=0,
        at=change.at,
        details=entry.words if change.added else f"{entry.address} was taken off the suppression list",
        subject=hashlib.sha256(name.encode()).hexdigest()[:32],
        data={
            "address": entry.address,
            "type": change.reason.value,
            "reason": change.detail or WORDS[change.reason],
            "scope": scope.name,
            "stream": scope.stream,
            "source": change.source,
            "until": to_ms_or_zero(entry.until if change.added else None),
        },
    )
    await tell_servers(event, scope, using)


async def tell_servers(event: Event, scope: Scope, using: Suppressing) -> None:
    """Send the event to the server of a list; what is on an organization's list concerns each of its servers.

    So it is in each server's log, and reaches its webhooks.  Twice: the same events.
    """
    if not scope.organization:
        await using.events.send([Outgoing(event.to_json(), group=str(event.server_id))])
        return
    cursor: str | None = None
    while True:
        servers, cursor = await using.servers.ids(OrganizationId(scope.owner_id), cursor)
        events = [replace(event, server_id=each) for each in servers]
        if events:
            await using.events.send([Outgoing(each.to_json(), group=str(each.server_id)) for each in events])
        if cursor is None:
            return
