"""Does the owner of a domain want us to send for it?  The DNS says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.dns import LookupFailed
from shared.domain.dns_findings import shown
from shared.domain.dns_records import VERIFICATION_PREFIX, own_return_path, ownership_value
from shared.domain.errors import NotFound
from shared.domain.tenancy import Domain
from shared.flow.plan_check import CHECK_AFTER, plan_check
from shared.network import Resolver
from shared.ports import Records
from shared.store.domains import Domains


@dataclass(frozen=True, slots=True)
class Verification:
    """What the DNS said."""

    domain: Domain
    """As it is now."""

    verified: bool
    explanation: str
    """For people: what was found, and what to do if it was not right."""


async def verify_domain(
    domain: Domain,
    *,
    records: Records,
    resolver: Resolver,
    return_path_domain: str,
    now: datetime,
    check_after: timedelta = CHECK_AFTER,
) -> Verification:
    """Look for the ownership record and for the domain's own return path, and note what is there.

    A domain that is verified stays so, whatever the DNS says today: mail must not
    stop because of a failing name server.  Its own return path is used only while its
    alias is right: a bounce to a name that leads elsewhere would be lost.

    Args:
        domain: which one.
        records: where it lies.
        resolver: asks the DNS.
        return_path_domain: where the alias of the domain's own return path must lead.
        now: the time of the verification.
        check_after: how much later all its records are looked at for the first time.

    Raises:
        LookupFailed: the DNS gave no answer; nothing changed.
        NotFound: the domain was removed meanwhile.
    """
    domain = await _look_for_return_path(domain, return_path_domain, records=records, resolver=resolver)
    found = await resolver.txt(domain.name)
    right = ownership_value(domain) in found
    planned = replace(domain, check_due=now + check_after)
    if domain.verified_at is not None:
        if domain.check_due is None:  # verified before there were checks
            await plan_check(planned, records)
            domain = await Domains(records).save_check(domain, None, planned.check_due) or domain
        state = "the ownership record is there" if right else "though its ownership record is not there"
        return Verification(domain, verified=True, explanation=f"{domain.name} is verified; {state}")
    if not right:
        return Verification(domain, verified=False, explanation=explain_missing(domain, found))
    await plan_check(planned, records)
    verified = await Domains(records).mark_verified(domain, now, trusted=False, check_due=now + check_after)
    if verified is None:
        raise NotFound(f"there is no domain {domain.name}")
    return Verification(verified, verified=True, explanation=f"{domain.name} is verified: mail may be sent from it")


async def _look_for_return_path(
    domain: Domain, return_path_domain: str, *, records: Records, resolver: Resolver
) -> Domain:
    try:
        target = await resolver.cname(own_return_path(domain.name))
    except LookupFailed:
        return domain
    own = (target or "").lower() == return_path_domain.lower()
    if own is domain.own_return_path:
        return domain
    changed = await Domains(records).mark_return_path(domain, own=own)
    if changed is None:
        raise NotFound(f"there is no domain {domain.name}")
    return changed


def explain_missing(domain: Domain, found: Sequence[str]) -> str:
    """Return what is wrong with the TXT records found, and what to publish."""
    wanted = ownership_value(domain)
    publish = f"publish at {domain.name} a TXT record with exactly: {wanted}"
    if not found:
        return f"{domain.name} has no TXT record; {publish}"
    near = [text for text in found if VERIFICATION_PREFIX.strip() in text.lower()]
    if near:
        return f"the ownership record of {domain.name} is another one ({shown(near)}); {publish}"
    return f"{domain.name} has {len(found)} TXT records, but no ownership record ({shown(found)}); {publish}"
