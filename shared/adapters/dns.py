"""The DNS through dnspython's asynchronous stub resolver.

Each answer is kept for its TTL; the same question asked many times at once
goes out once.  Names that cannot be looked up (a label over 63 bytes) have no
records.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import cast

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT

from shared.domain.addresses import domain_name
from shared.domain.dns import LookupFailed
from shared.domain.errors import InvalidValue
from shared.network import MXHost

MAX_CNAMES = 8
UDP_PAYLOAD = 1232
"""Bytes that cross every path unfragmented (DNS flag day 2020); larger answers come by TCP."""


@dataclass(frozen=True, slots=True)
class DNSLimits:
    """How long the DNS may take, and how long its answers are believed."""

    timeout_s: float = 5
    """For one server's answer."""

    tries: int = 2
    """A look-up gives up after ``timeout_s`` x ``tries``."""

    least_ttl: timedelta = timedelta(seconds=1)
    most_ttl: timedelta = timedelta(hours=1)
    negative_ttl: timedelta = timedelta(seconds=60)
    """At most, for "no such name" and "no such record" (RFC 2308 §5)."""

    most_answers: int = 50_000


@dataclass(frozen=True, slots=True)
class _Answer:
    texts: tuple[str, ...]
    """Records as text, in the form that each method wants."""

    exists: bool
    expires: float


class DNSResolver:
    """``Resolver`` over the given servers, or the system's.

    Args:
        servers: (host, port) pairs; names of hosts are looked up once, by the system.
        limits: timeouts and cache.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] = (),
        *,
        limits: DNSLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or DNSLimits()
        self._clock = clock
        self._servers = tuple(servers)
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._backend = dns.asyncbackend.get_backend("asyncio")
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[_Answer]] = {}

    async def mx(self, domain: str) -> Sequence[MXHost] | None:
        """Return the MX set; empty if none; None if the domain does not exist."""
        answer = await self._ask(domain, "MX")
        if not answer.exists:
            return None
        pairs = (text.split(" ", 1) for text in answer.texts)
        return [MXHost(int(preference), name) for preference, name in pairs]

    async def addresses(self, host: str, *, ipv6: bool = True) -> Sequence[str]:
        """Return the host's A and, if wanted, AAAA addresses; empty if it has none."""
        kinds = ("AAAA", "A") if ipv6 else ("A",)
        answers = await asyncio.gather(*(self._ask(host, kind) for kind in kinds), return_exceptions=True)
        found = [text for answer in answers if isinstance(answer, _Answer) for text in answer.texts]
        if not found:
            # One family's addresses are enough; none and a failure means: not known.
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return found

    async def txt(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name, the strings of each joined; empty if none."""
        return (await self._ask(name, "TXT")).texts

    def txt_at_hand(self, name: str) -> Sequence[str] | None:
        """Return the TXT records of a name if they are still believed from before, else None."""
        kept = self._kept((name.rstrip(".").lower(), "TXT"))
        return None if kept is None else kept.texts

    async def cname(self, name: str) -> str | None:
        """Return what the name itself is an alias of, without final dot, or None."""
        texts = (await self._ask(name, "CNAME")).texts
        return texts[0] if texts else None

    async def pointer(self, address: str) -> str | None:
        """Return the PTR name of an address without final dot, or None."""
        try:
            name = dns.reversename.from_address(str(ip_address(address))).to_text()
        except ValueError:
            return None
        texts = (await self._ask(name, "PTR")).texts
        return texts[0] if texts else None

    async def _ask(self, name: str, kind: str) -> _Answer:
        question = (name.rstrip(".").lower(), kind)
        if kept := self._kept(question):
            return kept
        task = self._asking.get(question)
        if task is None:
            task = self._asking[question] = asyncio.create_task(self._look_up(question))
            task.add_done_callback(lambda done: self._answered(question, done))
        # One caller that gives up must not take the answer away from the others.
        return await asyncio.shield(task)

    def _kept(self, question: tuple[str, str]) -> _Answer | None:
        kept = self._answers.get(question)
        if kept is None or kept.expires <= self._clock():
            return None
        self._answers.move_to_end(question)
        return kept

    def _answered(self, question: tuple[str, str], done: asyncio.Task[_Answer]) -> None:
        self._asking.pop(question, None)
        if not done.cancelled():
            # Looked at, even if every caller has gone away meanwhile.
            done.exception()

    async def _look_up(self, question: tuple[str, str]) -> _Answer:
        name, kind = question
        try:
            wanted = dns.name.from_text(_ascii(name))
        except (dns.exception.DNSException, InvalidValue, ValueError):
            return _Answer((), exists=False, expires=0)
        texts, exists, ttl_s = await self._resolve(wanted, dns.rdatatype.from_text(kind))
        answer = _Answer(texts, exists, self._clock() + ttl_s)
        self._answers[question] = answer
        self._answers.move_to_end(question)
        if len(self._answers) > self._limits.most_answers:
            self._answers.popitem(last=False)
        return answer

    async def _resolve(
        self, wanted: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> tuple[tuple[str, ...], bool, float]:
        """Return the records as text, whether the name exists, and how long to believe it, in seconds."""
        limits = self._limits
        resolver = await self._configured()
        ttl_s = limits.most_ttl.total_seconds()
        for _ in range(MAX_CNAMES):
            try:
                answer = await resolver.resolve(wanted, kind, raise_on_no_answer=False, backend=self._backend)
            except dns.resolver.NXDOMAIN as exc:
                negative_s = min([limits.negative_ttl.total_seconds(), *_negative_ttls(exc)])
                return (), False, max(limits.least_ttl.total_seconds(), min(ttl_s, negative_s))
            except (dns.exception.DNSException, OSError) as exc:
                raise LookupFailed(f"the DNS gave no answer for {wanted} {kind.name}") from exc
            chain = answer.chaining_result
            ttl_s = min(ttl_s, chain.minimum_ttl)
            if answer.rrset is not None:
                texts = tuple(_text(record) for record in answer.rrset)
                return texts, True, max(limits.least_ttl.total_seconds(), ttl_s)
            if chain.canonical_name == wanted:
                negative_s = min(limits.negative_ttl.total_seconds(), ttl_s)
                return (), True, max(limits.least_ttl.total_seconds(), negative_s)
            # RFC 1034 §3.6.2: the server gave an alias without what it stands for.
            wanted = chain.canonical_name
        raise LookupFailed(f"{wanted} is behind more than {MAX_CNAMES} aliases")

    async def _configured(self) -> dns.asyncresolver.Resolver:
        """Return dnspython's resolver, made at the first look-up: a server's name may have to be resolved."""
        if self._resolver is not None:
            return self._resolver
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        except dns.resolver.NoResolverConfiguration as exc:
            raise LookupFailed("this system has no DNS servers configured") from exc
        if self._servers:
            loop = asyncio.get_running_loop()
            found: list[dns.nameserver.Nameserver] = []
            for host, port in self._servers:
                try:
                    first = (await loop.getaddrinfo(host, port))[0]
                except OSError as exc:
                    raise LookupFailed(f"the DNS server {host} has no address") from exc
                found.append(dns.nameserver.Do53Nameserver(cast("str", first[4][0]), port))
            resolver.nameservers = found
        resolver.timeout = self._limits.timeout_s
        resolver.lifetime = self._limits.timeout_s * self._limits.tries
        resolver.use_edns(0, 0, UDP_PAYLOAD)
        # The cache of this class replaces dnspython's.
        resolver.cache = None
        self._resolver = resolver
        return resolver


def _ascii(name: str) -> str:
    """Return the name as A-labels; names that are no domains (a leading ``_``, arpa) pass as they are."""
    return name if name.isascii() else domain_name(name)


def _negative_ttls(exc: dns.resolver.NXDOMAIN) -> Sequence[float]:
    """Return how long the servers want "no such name" to be believed, if they said so (RFC 2308 §5)."""
    responses = exc.responses()  # type: ignore[no-untyped-call]  # dnspython left this one untyped
    return [response.resolve_chaining().minimum_ttl for response in responses.values()]


def _text(record: object) -> str:
    match record:
        case MX():
            return f"{record.preference} {record.exchange.to_text(omit_final_dot=True).removesuffix('.')}"
        case TXT():
            return b"".join(record.strings).decode("utf-8", "replace")
        case CNAME() | PTR():
            return record.target.to_text(omit_final_dot=True)
    return str(record)
