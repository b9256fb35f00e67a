"""Check a tracking domain: does its CNAME still lead to us?  Its server is told once if not.

In the order of ``shared.flow.check_domain``, and as safe to repeat: who was to be told before
is told; the DNS is asked; the entry of the next check is put; one conditional update stores
the check; the server is told, and that is noted.
"""

import logging
from dataclasses import replace
from datetime import datetime
from zlib import crc32

from shared.domain.dns import LookupFailed
from shared.domain.dns_check import wait_since
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId
from shared.domain.moments import to_ms
from shared.domain.tracking import TrackDomain
from shared.domain.tracking_check import TrackCheck, judge, next_track_check, track_event_data
from shared.flow.check_domain import MAX_DETAILS, MAX_NAME_IN_SUBJECT, Checking
from shared.flow.plan_check import check_wait
from shared.network import Resolver
from shared.ports import Item, Outgoing, Records
from shared.store.schedule import Entry, Schedule
from shared.store.track_domains import TrackDomains

log = logging.getLogger(__name__)

CHECK = "check_track_domain"
"""What an entry of the schedule asks for."""


async def check_track_domain(
    domain: TrackDomain, *, resolver: Resolver, using: Checking, now: datetime
) -> TrackDomain | None:
    """Look at the record of a verified tracking domain as it was read just now; return the domain as it is then.

    None if it is gone, or somebody else checked it meanwhile.

    Raises:
        StorageUnavailable: may be repeated; nothing is told twice.
    """
    await tell_if_track_untold(domain, using=using)
    check = await _look(domain, resolver, using, now)
    known = check or domain.check
    wait = wait_since(None if known is None else known.since, now, check_wait(using.settings))
    planned = replace(domain, check_due=now + wait)
    await plan_track_check(planned, using.records)
    saved = await TrackDomains(using.records).save_check(domain, check, planned.check_due)
    if saved is not None:
        await tell_if_track_untold(saved, using=using)
    return saved


async def _look(domain: TrackDomain, resolver: Resolver, using: Checking, now: datetime) -> TrackCheck | None:
    """Return the new check; None if the DNS gave no answer: then what is known stays."""
    try:
        found = await resolver.cname(domain.name)
    except LookupFailed:
        log.info("track_domain_not_looked_up", exc_info=True, extra={"server_id": domain.server_id})
        return None
    status, error = judge(domain.name, found, using.settings.track_domain)
    return next_track_check(domain.check, status, error, now)


async def plan_track_check(domain: TrackDomain, records: Records) -> None:
    """Put the entry for the moment in ``domain.check_due``, before the domain says so.  Twice: the same entry."""
    if domain.check_due is None:
        return
    item: Item = {"do": CHECK, "domain": domain.name, "server": domain.server_id, "due": to_ms(domain.check_due)}
    # Where others have a message's id, a number of the name spreads the entries over the shards.
    number, kind = crc32(domain.name.encode()), f"track-check#{domain.name}"
    await Schedule(records).put(Entry(domain.check_due, domain.server_id, number, 0, kind, item))


async def tell_if_track_untold(domain: TrackDomain, *, using: Checking) -> None:
    """Put the event of what went wrong on the events queue, unless that was done.  Twice: the same event."""
    check = domain.check
    if check is None or check.told:
        return
    event = Event(
        EventKind.DOMAIN_ERROR,
        domain.server_id,
        MessageId(0),
        0,
        check.at,
        details=check.error[:MAX_DETAILS],
        # The check's moment makes every telling of it the same event.
        subject=f"{domain.name[:MAX_NAME_IN_SUBJECT]}#{to_ms(check.at)}",
        data=track_event_data(domain.name, check),
    )
    await using.events.send([Outgoing(event.to_json(), group=str(event.server_id))])
    await TrackDomains(using.records).mark_told(domain, check)
