"""Sending domains: added with keys of their own, found by name, removed."""

import asyncio
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.addresses import domain_name
from shared.domain.dkim_keys import new_key, wrap_context
from shared.domain.errors import InvalidValue, NameTaken, NotFound, NotPermitted, StorageUnavailable
from shared.domain.ids import draw_token
from shared.domain.names import check_typed_name
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain, Organization, Scope, Server
from shared.flow.plan_check import CHECK_AFTER, plan_check
from shared.ports import Keyring, Records
from shared.store.domains import Domains, Owner
from shared.store.paging import every

VERIFICATION_TOKEN_LENGTH = 32
SELECTOR_LETTERS = 6
SELECTOR_PREFIX = {DKIMAlgorithm.RSA: "eprsa", DKIMAlgorithm.ED25519: "eped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomain:
    """What somebody says about the domain to add."""

    name: str
    algorithms: Sequence[DKIMAlgorithm]
    """A key is made for each, and each key signs every message."""

    scope: Scope
    """How far the caller's word reaches."""

    trusted: bool = False
    """Send from it without looking at the DNS."""


async def add_domain(
    wanted: NewDomain,
    *,
    owner: Owner,
    records: Records,
    keyring: Keyring,
    rng: random.Random,
    now: datetime,
    check_after: timedelta = CHECK_AFTER,
) -> Domain:
    """Add a domain to a server, or to an organization for all its servers.

    A trusted domain's records are looked at for the first time after ``check_after``.

    Raises:
        InvalidValue: not a domain name, or no key asked for.
        NameTaken: the owner has the domain already.
        NotPermitted: trust without the installation admin's scope.
    """
    if wanted.trusted and wanted.scope is not Scope.ADMIN:
        raise NotPermitted("only an admin of the installation may trust a domain without verification")
    name = domain_name(wanted.name)
    if not wanted.trusted and ("." not in name or "_" in name):
        # Nobody can publish records there; an admin's word may still be for a name inside.
        raise InvalidValue(f"{name} cannot be a sending domain: give a whole name, such as example.com")
    store = Domains(records)
    if await store.get(name, owner) is not None:
        raise _taken(name, owner)
    domain = await new_domain(name, wanted.algorithms, owner=owner, keyring=keyring, rng=rng, now=now)
    if wanted.trusted:
        domain = trusted(domain, now, check_due=now + check_after)
        await plan_check(domain, records)
    if not await store.add(domain):
        if await store.get(name, owner) is not None:
            raise _taken(name, owner)
        raise StorageUnavailable(f"{owner.permalink} is gone")
    return domain


async def new_domain(
    name: str,
    algorithms: Sequence[DKIMAlgorithm],
    *,
    owner: Owner,
    keyring: Keyring,
    rng: random.Random,
    now: datetime,
) -> Domain:
    """Return an unverified domain with fresh keys, not stored yet; a checked name is given.

    Raises:
        InvalidValue: no algorithm.
    """
    wanted = sorted(set(algorithms), key=list(DKIMAlgorithm).index)
    if not wanted:
        raise InvalidValue("a domain needs a DKIM key: rsa, ed25519 or both")
    keys = [await _new_dkim_key(name, algorithm, keyring=keyring, rng=rng) for algorithm in wanted]
    return Domain(
        name=name,
        organization_id=owner.organization_id if isinstance(owner, Server) else owner.id,
        server_id=owner.id if isinstance(owner, Server) else None,
        keys=tuple(keys),
        verification_token=draw_token(rng, VERIFICATION_TOKEN_LENGTH),
        created_at=now,
    )


async def _new_dkim_key(name: str, algorithm: DKIMAlgorithm, *, keyring: Keyring, rng: random.Random) -> DKIMKey:
    # An RSA key takes a tenth of a second of CPU: other work goes on meanwhile.
    pair = await asyncio.to_thread(new_key, algorithm)
    letters = "".join(rng.choices(string.ascii_lowercase, k=SELECTOR_LETTERS))
    selector = f"{SELECTOR_PREFIX[algorithm]}-{letters}"
    wrapped = keyring.wrap(pair.private, context=wrap_context(name, selector))
    return DKIMKey(algorithm, selector, pair.public, wrapped)


def trusted(domain: Domain, now: datetime, *, check_due: datetime) -> Domain:
    """Return the domain as verified by an admin's word."""
    return replace(domain, verified_at=now, trusted=True, check_due=check_due)


async def find_domain(name: str, *, owner: Owner | None = None, records: Records) -> Domain:
    """Return a domain by name; without an owner it must be the only one of that name.

    Raises:
        InvalidValue: not a domain name, or several owners have it and none was named.
        NotFound: there is none.
    """
    name = domain_name(name)
    store = Domains(records)
    if owner is not None:
        found = await store.get(name, owner)
        if found is None:
            raise NotFound(f"{owner.permalink} has no domain {name}")
        return found
    named = await store.named(name, limit=2)
    if not named:
        raise NotFound(f"there is no domain {name}")
    if len(named) > 1:
        raise InvalidValue(f"several servers or organizations have the domain {name}: say which one")
    return named[0]


async def list_domains(
    owner: Owner, *, records: Records, cursor: str | None = None
) -> tuple[Sequence[Domain], str | None]:
    """Return some of the owner's own domains and the cursor of the next ones, None at the end."""
    return await Domains(records).page(owner, cursor)


async def delete_domain(domain: Domain, *, typed_name: str, records: Records) -> None:
    """Remove a domain with its keys; what is queued from it can no longer be signed.

    Raises:
        InvalidValue: the typed name is another one.
    """
    check_typed_name(typed_name, domain.name)
    await Domains(records).remove(domain)


async def remove_domains(owner: Owner, *, records: Records) -> None:
    """Remove all of an owner's own domains, one after another.  Twice: nothing more."""
    store = Domains(records)
    async for domain in every(lambda cursor: store.page(owner, cursor)):
        await store.remove(domain)


def _taken(name: str, owner: Owner) -> NameTaken:
    kind = "organization" if isinstance(owner, Organization) else "server"
    return NameTaken(f"the {kind} {owner.permalink} has the domain {name} already")
