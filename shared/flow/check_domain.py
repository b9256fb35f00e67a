"""Check a sending domain: are its DNS records still right?  Who sends from it is told once if not.

In this order, each step safe to repeat:

1. servers that were to be told of the check before, and perhaps were not, are told;
2. the DNS is asked; a record without an answer stays what it was;
3. the entry of the next check is put;
4. one conditional update: the check, whether somebody must be told, whether the domain's
   own return path may be used, the next moment;
5. the servers concerned are told, and that is noted.

A kill after 4 leaves a check that says "not told"; the entry, which is still there,
brings the domain back to 1.  Of two checks at once one is stored, and only that one
is told.  Mail goes on whatever is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.dns_check import (
    DNSCheck,
    DNSStatus,
    Name,
    Record,
    Seen,
    event_data,
    next_check,
    wait_after,
    went_wrong,
)
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.domain.moments import to_ms
from shared.domain.tenancy import Domain
from shared.flow.look_at_dns import look_at_dns
from shared.flow.plan_check import check_wait, plan_check
from shared.network import Resolver
from shared.ports import Outgoing, Queue, Records
from shared.settings import Settings
from shared.store.domains import Domains
from shared.store.paging import every
from shared.store.servers import Servers

MAX_DETAILS = 250
MAX_NAME_IN_SUBJECT = 180


@dataclass(frozen=True, slots=True)
class Checking:
    """What checking needs."""

    records: Records
    events: Queue
    settings: Settings


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check ended in."""

    domain: Domain
    """As it is now."""

    unknown: Sequence[Name]
    """Records of which the DNS gave no answer: what is known of them is older, or nothing."""

    answered: bool
    """Whether the DNS said anything at all."""


async def check_domain(domain: Domain, *, resolver: Resolver, using: Checking, now: datetime) -> Checked:
    """Look at the records of a domain as it was read just now, and tell of what went wrong.

    Raises:
        StorageUnavailable: may be repeated; nothing is told twice.
    """
    await tell_if_untold(domain, using=using)
    seen = await look_at_dns(domain, resolver=resolver, settings=using.settings)
    check = _decide(domain, seen, now)
    planned = domain
    if domain.verified_at is not None:
        wait = wait_after(check or domain.check, now, check_wait(using.settings))
        planned = replace(domain, check_due=now + wait)
        await plan_check(planned, using.records)
    store = Domains(using.records)
    # Bounces to an alias that leads elsewhere would be lost: from now on mail goes without it.
    own = next((each.status is DNSStatus.OK for each in seen.findings if each.record is Record.RETURN_PATH), None)
    saved = await store.save_check(domain, check, planned.check_due, own_return_path=own)
    if saved is None:
        there = await store.find(domain.name, domain.server_id or 0, domain.organization_id)
        return Checked(there or domain, tuple(seen.unknown), bool(seen.findings))
    await tell_if_untold(saved, using=using)
    return Checked(saved, tuple(seen.unknown), bool(seen.findings))


def _decide(domain: Domain, seen: Seen, now: datetime) -> DNSCheck | None:
    """Return the new check, or None if the DNS said nothing at all."""
    if not seen.findings:
        return None
    check = next_check(domain.check, seen, now)
    if domain.verified_at is None:
        return check
    # What was wrong while the owner was setting it up is news once mail may be sent from it.
    known = domain.check if domain.check is not None and domain.check.at >= domain.verified_at else None
    return replace(check, told=not went_wrong(known, check, trusted=domain.trusted))


async def tell_if_untold(domain: Domain, *, using: Checking) -> None:
    """Put one event for each server concerned on the events queue.  Twice: the same events."""
    check = domain.check
    if check is None or check.told:
        return
    events = [_event(server_id, domain, check) for server_id in await _concerned(domain, using.records)]
    if events:
        await using.events.send([Outgoing(each.to_json(), group=str(each.server_id)) for each in events])
    await Domains(using.records).mark_told(domain, check)


async def _concerned(domain: Domain, records: Records) -> Sequence[ServerId]:
    """Return the servers that send from this domain: its own, or its organization's without one of their own."""
    if domain.server_id is not None:
        return [domain.server_id]
    servers, domains = Servers(records), Domains(records)
    found: list[ServerId] = []
    async for server_id in every(lambda cursor: servers.ids(domain.organization_id, cursor)):
        own = await domains.find(domain.name, server_id, domain.organization_id)
        if own is None or own.verified_at is None:
            found.append(server_id)
    return found


def _event(server_id: ServerId, domain: Domain, check: DNSCheck) -> Event:
    errors = [each.error for each in sorted(check.findings, key=lambda each: not each.wrong) if each.error]
    return Event(
        EventKind.DOMAIN_ERROR,
        server_id,
        MessageId(0),
        0,
        check.at,
        details="; ".join(errors)[:MAX_DETAILS],
        # The check's moment makes every telling of it the same event.
        subject=f"{domain.name[:MAX_NAME_IN_SUBJECT]}#{to_ms(check.at)}",
        data=event_data(domain.name, check),
    )
