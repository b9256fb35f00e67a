"""Look at the DNS of a sending domain: four to five questions, and those of its SPF record's includes."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from shared.domain.dns import LookupFailed
from shared.domain.dns_check import DNSStatus, Finding, Name, Record, Seen
from shared.domain.dns_findings import (
    dkim_finding,
    mx_finding,
    not_let_through,
    return_path_finding,
    spf_finding,
)
from shared.domain.dns_records import dkim_record, own_return_path
from shared.domain.spf_terms import SPFTerm, is_spf, passing_terms
from shared.domain.tenancy import DKIMKey, Domain
from shared.network import Resolver
from shared.settings import Settings

PATIENCE_S = 15.0
"""For one record and all that it leads to; more is not knowing."""

MAX_SPF_LOOKUPS = 10
"""RFC 7208 §4.6.4: a record that needs more is wrong for every receiver."""


async def look_at_dns(domain: Domain, *, resolver: Resolver, settings: Settings) -> Seen:
    """Ask for every record at once; those that gave no answer are unknown, and nothing is raised."""
    looking: dict[Name, Awaitable[Finding]] = {
        (Record.SPF, ""): _spf(domain, resolver, settings),
        **{(Record.DKIM, key.selector): _dkim(domain, key, resolver) for key in domain.keys},
        (Record.RETURN_PATH, ""): _return_path(domain, resolver, settings),
    }
    (mx, exists), others = await asyncio.gather(
        _mx(domain, resolver, settings), asyncio.gather(*(_known(each) for each in looking.values()))
    )
    answers = dict(zip(looking, others, strict=True)) | {(Record.MX, ""): mx}
    findings = [each for each in answers.values() if each is not None]
    return Seen(exists, findings, frozenset(name for name, each in answers.items() if each is None))


async def _known(looking: Awaitable[Finding]) -> Finding | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await looking
    except (LookupFailed, TimeoutError):
        return None


async def _mx(domain: Domain, resolver: Resolver, settings: Settings) -> tuple[Finding | None, bool | None]:
    """Return what is to be said of the MX, and whether the domain exists."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            hosts = await resolver.mx(domain.name)
    except (LookupFailed, TimeoutError):
        return None, None
    names = None if hosts is None else [host.name for host in hosts]
    return mx_finding(domain, names, settings.hostname), names is not None


async def _dkim(domain: Domain, key: DKIMKey, resolver: Resolver) -> Finding:
    name, _ = dkim_record(domain.name, key)
    return dkim_finding(domain, key, await resolver.txt(name))


async def _return_path(domain: Domain, resolver: Resolver, settings: Settings) -> Finding:
    target = await resolver.cname(own_return_path(domain.name))
    return return_path_finding(domain, target, settings.return_path_domain)


async def _spf(domain: Domain, resolver: Resolver, settings: Settings) -> Finding:
    found = spf_finding(domain, await resolver.txt(domain.name), settings.hostname)
    if isinstance(found, Finding):
        return found
    if await _SPFWalk(resolver, settings).lets_us_through(found, domain.name):
        return Finding(Record.SPF, DNSStatus.OK)
    return not_let_through(domain, found, settings.hostname)


@dataclass(slots=True)
class _SPFWalk:
    """One walk through a record and those it includes.

    We pass where a term names our host, or includes the SPF record of a name of
    ours, or where address ranges together hold every address of our host.
    """

    resolver: Resolver
    settings: Settings
    lookups: int = 0
    uncovered: set[str] | None = None
    """Addresses of ours that no range has held so far; None before they were asked for."""

    walked: set[str] = field(default_factory=set)

    async def lets_us_through(self, record: str, domain: str) -> bool:
        for term in passing_terms(record):
            if await self._passes(term, term.value.partition("/")[0] or domain):
                return True
        return False

    async def _passes(self, term: SPFTerm, target: str) -> bool:
        hostname = self.settings.hostname
        match term.name:
            case "all":
                return True
            case "a":
                return target == hostname
            case "mx":
                hosts = (await self.resolver.mx(target) or ()) if self._may_ask() else ()
                return hostname in {host.name.lower() for host in hosts}
            case "ip4" | "ip6":
                return await self._covers(term.value)
            case "include" | "redirect" if term.value:
                return target in (hostname, self.settings.return_path_domain) or await self._included(target)
        return False

    async def _included(self, target: str) -> bool:
        # Macros stand for what is known only when a letter arrives (RFC 7208 §7).
        if "%" in target or target in self.walked or not self._may_ask():
            return False
        self.walked.add(target)
        records = [text for text in await self.resolver.txt(target) if is_spf(text)]
        return len(records) == 1 and await self.lets_us_through(records[0], target)

    async def _covers(self, text: str) -> bool:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            return False
        if self.uncovered is None:
            ipv6 = self.settings.delivery_ipv6
            self.uncovered = set(await self.resolver.addresses(self.settings.hostname, ipv6=ipv6))
        held = {each for each in self.uncovered if ip_address(each) in network}
        self.uncovered -= held
        return bool(held) and not self.uncovered

    def _may_ask(self) -> bool:
        self.lookups += 1
        return self.lookups <= MAX_SPF_LOOKUPS
