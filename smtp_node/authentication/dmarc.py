"""DMARC (RFC 9989, before it RFC 7489): is the author's domain the one that DKIM or SPF proved?

The organizational domain comes from the Public Suffix List.  RFC 9989 walks the DNS tree
instead; both agree but for domains that mark themselves with ``psd=``.
"""

import functools
import re
from collections.abc import Sequence

from publicsuffixlist import PublicSuffixList

from shared.domain.addresses import shown_domains
from shared.domain.dns import LookupFailed
from shared.domain.errors import InvalidValue
from shared.domain.headers import Head
from smtp_node.authentication.lookups import Lookups
from smtp_node.authentication.results import DKIMResult, DMARCResult, SPFResult, Verdict

POLICIES = frozenset({"none", "quarantine", "reject"})
MAX_TAGS = 40

_TAG = re.compile(r"\s*([a-z]{1,5})\s*=\s*([^;\s]{1,200})\s*\Z", re.IGNORECASE)


def check_dmarc(head: Head, spf: SPFResult, dkim: Sequence[DKIMResult], lookups: Lookups) -> DMARCResult:
    """Return whether the From domain is proved; call it from a thread."""
    domain = author_domain(head)
    if not domain:
        # RFC 9989 §4.4: without one author's domain there is nothing to ask; a mail with two is suspect.
        return DMARCResult(Verdict.PERMERROR if head.named(b"From") else Verdict.NONE)
    organization = organizational(domain)
    try:
        tags = _record(domain, lookups)
        inherited = not tags and organization != domain
        if inherited:
            tags = _record(organization, lookups)
    except LookupFailed:
        return DMARCResult(Verdict.TEMPERROR, domain)
    if not tags:
        return DMARCResult(Verdict.NONE, domain)
    policy = _policy(tags, inherited=inherited)
    proved = [(each.domain, tags.get("adkim", "r")) for each in dkim if each.verdict is Verdict.PASS]
    if spf.verdict is Verdict.PASS and spf.mail_from:
        proved.append((spf.domain, tags.get("aspf", "r")))
    if any(_aligned(each, domain, mode) for each, mode in proved):
        return DMARCResult(Verdict.PASS, domain, policy)
    # Could not be proved now, but perhaps later: not knowing is temporary.
    unsure = spf.verdict is Verdict.TEMPERROR or any(each.verdict is Verdict.TEMPERROR for each in dkim)
    return DMARCResult(Verdict.TEMPERROR if unsure else Verdict.FAIL, domain, policy)


def author_domain(head: Head) -> str:
    """Return the one domain that any reader could see in From, or an empty string."""
    fields = head.named(b"From")
    if len(fields) != 1:
        return ""
    try:
        shown = shown_domains(fields[0].value)
    except InvalidValue:
        return ""
    return next(iter(shown)) if len(shown) == 1 else ""


def organizational(domain: str) -> str:
    """Return the domain one below its public suffix: ``example.co.uk`` of ``mail.example.co.uk``."""
    return _suffixes().privatesuffix(domain) or domain


@functools.cache
def _suffixes() -> PublicSuffixList:
    """Return the list; parsed once, because it has ten thousand lines."""
    return PublicSuffixList()


def _aligned(proved: str, author: str, mode: str) -> bool:
    if mode.lower() == "s":
        return proved == author
    return organizational(proved) == organizational(author)


def _record(domain: str, lookups: Lookups) -> dict[str, str]:
    """Return the tags of the one DMARC record of a domain; none if there are several (RFC 9989 §4.10)."""
    records = [each for each in lookups.txt(f"_dmarc.{domain}") if re.match(r"\s*v\s*=\s*DMARC1\s*(;|\Z)", each)]
    if len(records) != 1:
        return {}
    found = [match for part in records[0].split(";")[:MAX_TAGS] if (match := _TAG.match(part))]
    return {match[1].lower(): match[2].lower() for match in found}


def _policy(tags: dict[str, str], *, inherited: bool) -> str:
    named = tags.get("sp", tags.get("p", "none")) if inherited else tags.get("p", "none")
    return named if named in POLICIES else "none"
