"""From a job's target to the addresses to try, in order.

==============================  =================================================
the DNS says                    route
==============================  =================================================
MX records                      hosts by preference, equal ones in random order
no MX                           the domain's own addresses (RFC 5321 §5.1)
a null MX                       HardFail 5.1.10 (RFC 7505 §3)
no such domain                  HardFail 5.1.2
no answer                       SoftFail: not knowing is temporary
hosts without addresses         SoftFail 4.4.4
only forbidden addresses        HardFail 5.4.4, nothing is connected to
==============================  =================================================
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import zip_longest

from shared.domain.addresses import domain_name
from shared.domain.dns import LookupFailed
from shared.domain.errors import InvalidValue
from shared.domain.job import Target, TLSMode, ToHost, ToMX
from shared.domain.message import Evidence
from shared.domain.networks import may_reach
from shared.domain.outcome import HardFail, SoftFail
from shared.network import MXHost, Resolver
from shared.settings import Network

MAX_ADDRESSES = 5
"""Tried in one attempt (Postfix smtp_mx_address_limit)."""

MAX_PER_HOST = 2
"""Of several hosts, so that one with many addresses does not hide the others."""

MAX_HOSTS = 20


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to try."""

    host: str
    address: str
    port: int
    tls: TLSMode


@dataclass(frozen=True, slots=True)
class RouteRules:
    """What this node may do.  ``port`` is that of MX hosts."""

    port: int = 25
    ipv6: bool = True
    allowed: tuple[Network, ...] = ()


async def find_route(
    target: Target,
    *,
    resolver: Resolver,
    rules: RouteRules,
    rng: random.Random,
    source_address: str | None = None,
    trusted: bool = False,
) -> Sequence[Hop] | HardFail | SoftFail:
    """Return the addresses to try, best first and at least one, or what the DNS decided.

    Args:
        target: where the job wants to go.
        resolver: asked for MX and addresses.
        rules: ports and networks.
        rng: orders hosts of equal preference and addresses of one host.
        source_address: only addresses of its family are of use.
        trusted: the operator named the host, so any address will do.
    """
    families = _families(source_address, rules)
    try:
        match target:
            case ToMX(domain):
                port, tls = rules.port, TLSMode.OPPORTUNISTIC
                hosts = await _mail_hosts(domain, resolver, rng)
            case ToHost(name, port, tls):
                hosts = [_host_name(name)]
    except LookupFailed:
        return SoftFail(f"The DNS gave no answer for {_shown(target)}.", evidence=Evidence(enhanced_code="4.4.3"))
    except _Undeliverable as exc:
        return HardFail(exc.sentence, evidence=Evidence(enhanced_code=exc.enhanced_code))
    found, unanswered = await _addresses(hosts, resolver, families, rng)
    reachable = [(host, address) for host, address in found if trusted or may_reach(address, rules.allowed)]
    if reachable:
        return [Hop(host, address, port, tls) for host, address in reachable[:MAX_ADDRESSES]]
    if unanswered:
        return SoftFail(f"The DNS gave no answer for {unanswered[0]}.", evidence=Evidence(enhanced_code="4.4.3"))
    if found:
        return HardFail(
            f"The mail hosts of {_shown(target)} are at addresses that may not be reached, such as {found[0][1]}.",
            evidence=Evidence(mx=found[0][0], mx_address=found[0][1], enhanced_code="5.4.4"),
        )
    return SoftFail(
        f"No SMTP servers were available for {_shown(target)}. No hosts to try.",
        evidence=Evidence(enhanced_code="4.4.4"),
    )


def in_order(hosts: Sequence[MXHost], rng: random.Random) -> Sequence[str]:
    """Return the names by preference, equal ones in random order (RFC 5321 §5.1), each once."""
    shuffled = sorted(hosts, key=lambda host: (host.preference, rng.random()))
    return list(dict.fromkeys(host.name.rstrip(".").lower() for host in shuffled))


class _Undeliverable(Exception):
    def __init__(self, enhanced_code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.enhanced_code = enhanced_code
        self.sentence = sentence


async def _mail_hosts(domain: str, resolver: Resolver, rng: random.Random) -> Sequence[str]:
    try:
        # Address literals are refused: they would let a sender choose any address (RFC 5321 §5.1 is about names).
        name = domain_name(domain)
    except InvalidValue as exc:
        raise _Undeliverable("5.1.2", f"{domain[:100]} is not a domain name.") from exc
    found = await resolver.mx(name)
    if found is None:
        raise _Undeliverable("5.1.2", f"The domain {name} does not exist.")
    if not found:
        return [name]
    named = [host for host in found if host.name.strip(".")]
    if not named:
        # RFC 7505 §3: a null MX says that the domain takes no mail.
        raise _Undeliverable("5.1.10", f"The domain {name} does not accept mail (null MX).")
    return in_order(named, rng)


def _host_name(name: str) -> str:
    try:
        return str(ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        return domain_name(name)
    except InvalidValue as exc:
        raise _Undeliverable("5.1.2", f"{name[:100]} is not a host name.") from exc


async def _addresses(
    hosts: Sequence[str], resolver: Resolver, families: frozenset[int], rng: random.Random
) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
    """Return (host, address) pairs in order, and the hosts for which the DNS did not answer.

    Hosts are looked up a handful at a time: the first of fifty usually does.
    """
    per_host = MAX_PER_HOST if len(hosts) > 1 else MAX_ADDRESSES
    found: list[tuple[str, str]] = []
    unanswered: list[str] = []
    for start in range(0, min(len(hosts), MAX_HOSTS), MAX_ADDRESSES):
        some = hosts[start : start + MAX_ADDRESSES]
        for host, answer in zip(
            some, await asyncio.gather(*(_look_up(h, resolver, families) for h in some)), strict=True
        ):
            if answer is None:
                unanswered.append(host)
            else:
                found += [(host, address) for address in _spread(answer, families, rng)[:per_host]]
        if len(found) >= MAX_ADDRESSES:
            break
    return found, unanswered


async def _look_up(host: str, resolver: Resolver, families: frozenset[int]) -> Sequence[str] | None:
    """Return the host's addresses, or None if the DNS did not answer; a name that is none has no addresses."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    try:
        return await resolver.addresses(domain_name(host), ipv6=6 in families)
    except InvalidValue:
        return ()
    except LookupFailed:
        return None


def _spread(addresses: Sequence[str], families: frozenset[int], rng: random.Random) -> Sequence[str]:
    """Return the addresses of wanted families in random order, IPv6 and IPv4 by turns.

    Taking turns leaves IPv4 a chance where IPv6 is broken (Postfix
    smtp_balance_inet_protocols).
    """
    by_version: dict[int, list[str]] = {6: [], 4: []}
    for address in addresses:
        version = ip_address(address).version
        if version in families:
            by_version[version].append(address)
    for some in by_version.values():
        rng.shuffle(some)
    return [each for pair in zip_longest(by_version[6], by_version[4]) for each in pair if each is not None]


def _families(source_address: str | None, rules: RouteRules) -> frozenset[int]:
    if source_address is not None:
        return frozenset({ip_address(source_address).version})
    return frozenset({4, 6} if rules.ipv6 else {4})


def _shown(target: Target) -> str:
    return target.domain if isinstance(target, ToMX) else target.name
