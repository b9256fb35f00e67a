"""Tracking domains: added, checked in the DNS, changed and removed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.addresses import domain_name
from shared.domain.dns_check import DNSStatus
from shared.domain.dns_records import DNSRecord
from shared.domain.errors import InvalidValue, NameTaken, NotFound, NotPermitted, StorageUnavailable
from shared.domain.names import check_typed_name
from shared.domain.tenancy import Scope, Server
from shared.domain.tracking import TrackDomain, checked_excluded, host_of
from shared.domain.tracking_check import judge
from shared.flow.check_track_domain import plan_track_check
from shared.flow.plan_check import check_wait
from shared.network import Resolver
from shared.ports import Records
from shared.settings import Settings
from shared.store.domains import Domains
from shared.store.track_domains import MOST, TrackDomains


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrackDomain:
    """What somebody says about the tracking domain to add."""

    name: str
    scope: Scope
    """How far the caller's word reaches."""

    sending_domain: str = ""
    """Use it for mail of this domain only; empty: for all mail of the server."""

    trusted: bool = False
    """Use it without looking at the DNS."""


@dataclass(frozen=True, slots=True)
class TrackVerification:
    """What the DNS said."""

    domain: TrackDomain
    """As it is now."""

    verified: bool
    explanation: str
    """For people: what was found, and what to do if it was not right."""


async def add_track_domain(
    wanted: NewTrackDomain, *, server: Server, records: Records, settings: Settings, now: datetime
) -> TrackDomain:
    """Add a tracking domain to a server.

    Another server's claim to the name that never was verified gives way: otherwise
    anybody could keep a name from its owner.

    Raises:
        InvalidValue: not a domain name, one that serves something else, or the server has too many.
        NameTaken: a server has it already.
        NotFound: the server has no such sending domain.
        NotPermitted: trust without the installation admin's scope.
    """
    if wanted.trusted and wanted.scope is not Scope.ADMIN:
        raise NotPermitted("only an admin of the installation may trust a tracking domain without verification")
    name = domain_name(wanted.name)
    _check_free_for_tracking(name, settings)
    store = TrackDomains(records)
    if len(await store.of(server.id)) >= MOST:
        raise InvalidValue(f"a server may have {MOST} tracking domains")
    domain = TrackDomain(
        name=name,
        server_id=server.id,
        created_at=now,
        sending_domain=await _sending_domain(wanted.sending_domain, server, records),
        verified_at=now if wanted.trusted else None,
        trusted=wanted.trusted,
    )
    if await store.add(domain):
        return domain
    there = await store.by_host(name)
    if there is None:
        raise StorageUnavailable(f"{server.permalink} is gone")
    if there.server_id != server.id and there.verified_at is None and await store.take_over(domain, there):
        return domain
    raise NameTaken(f"a server has the tracking domain {name} already")


def _check_free_for_tracking(name: str, settings: Settings) -> None:
    """Refuse names of the installation itself: a tracking host serves nothing but links."""
    own = {settings.track_domain, settings.hostname, host_of(settings.public_url), "localhost"}
    if name in own or "." not in name:
        raise InvalidValue(f"{name} cannot be a customer's tracking domain")


async def _sending_domain(name: str, server: Server, records: Records) -> str:
    if not name:
        return ""
    name = domain_name(name)
    if not await Domains(records).usable_by(name, server):
        raise NotFound(f"{server.permalink} has no domain {name}")
    return name


async def find_track_domain(name: str, *, records: Records) -> TrackDomain:
    """Return a tracking domain by its name.

    Raises:
        InvalidValue: not a domain name.
        NotFound: there is none.
    """
    name = domain_name(name)
    found = await TrackDomains(records).by_host(name)
    if found is None:
        raise _gone(name)
    return found


async def list_track_domains(server: Server, *, records: Records) -> Sequence[TrackDomain]:
    """Return all tracking domains of a server by name."""
    return await TrackDomains(records).of(server.id)


async def verify_track_domain(
    domain: TrackDomain, *, records: Records, resolver: Resolver, settings: Settings, now: datetime
) -> TrackVerification:
    """Look for the CNAME record and note it if it is there.

    A domain that is verified stays so, whatever the DNS says today: links that
    were sent must go on working.  Its record is looked at again and again from then on
    (``shared.flow.check_track_domain``).

    Raises:
        LookupFailed: the DNS gave no answer; nothing changed.
        NotFound: the domain was removed meanwhile.
    """
    target = await resolver.cname(domain.name)
    status, what_to_do = judge(domain.name, target, settings.track_domain)
    right = status is DNSStatus.OK
    if domain.verified_at is not None:
        state = "its CNAME record is there" if right else "though its CNAME record is not there"
        return TrackVerification(domain, verified=True, explanation=f"{domain.name} is verified; {state}")
    if not right:
        return TrackVerification(domain, verified=False, explanation=what_to_do)
    due = now + check_wait(settings)
    await plan_track_check(replace(domain, check_due=due), records)
    verified = await TrackDomains(records).mark_verified(domain, now, check_due=due)
    if verified is None:
        raise _gone(domain.name)
    return TrackVerification(verified, verified=True, explanation=f"{domain.name} is verified: links may carry it")


async def update_track_domain(
    domain: TrackDomain,
    *,
    opens: bool | None = None,
    clicks: bool | None = None,
    excluded: Sequence[str] | None = None,
    records: Records,
) -> TrackDomain:
    """Change what is given; nodes see it within five seconds, mail that was sent stays as it is.

    Raises:
        InvalidValue: an excluded domain is none.
        NotFound: the domain was removed meanwhile.
    """
    names = None if excluded is None else checked_excluded(excluded)
    if opens is None and clicks is None and names is None:
        return domain
    changed = await TrackDomains(records).change(domain, opens=opens, clicks=clicks, excluded=names)
    if changed is None:
        raise _gone(domain.name)
    return changed


async def delete_track_domain(domain: TrackDomain, *, typed_name: str, records: Records) -> None:
    """Remove a tracking domain: links of mail that was sent lead nowhere from then on.

    Raises:
        InvalidValue: the typed name is another one.
    """
    check_typed_name(typed_name, domain.name)
    await TrackDomains(records).remove(domain)


async def remove_track_domains(server: Server, *, records: Records) -> None:
    """Remove all tracking domains of a server.  Twice: nothing more."""
    store = TrackDomains(records)
    for domain in await store.of(server.id):
        await store.remove(domain)


def track_records(domain: TrackDomain, settings: Settings) -> Sequence[DNSRecord]:
    """Return what must be published for a tracking domain."""
    purpose = "Tracking: links and pixels are served under your own name. The certificate is made by itself."
    return (DNSRecord("CNAME", domain.name, settings.track_domain, purpose),)


def _gone(name: str) -> NotFound:
    return NotFound(f"there is no tracking domain {name}")
