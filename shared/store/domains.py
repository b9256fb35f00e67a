"""Sending domains in the records: by name and owner, and in the owner's list.

An owner is a server, or an organization for all its servers; each owner may have
a domain of the same name, with keys and a verification of its own.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.dns_check import DNSCheck, DNSStatus, Finding, Record
from shared.domain.ids import OrganizationId, ServerId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain, Organization, Server
from shared.ports import Absent, Condition, Delete, Equals, Exists, Item, Key, Put, Records, Update, Value, Write
from shared.store.items import flag, moment, moment_or_none, number, rows, text
from shared.store.keys import domain_key, domain_listing_key, organization_key, server_key

Owner = Server | Organization

_LISTED = "domain#"
_LISTED_END = "domain$"
"""The text right after everything that starts with ``domain#``."""

_CHECK_MOMENT = {"dns_at": 0}
"""Added to, it gives items of before there were checks the moment of the last one: none."""


def domain_puts(domain: Domain) -> Sequence[Write]:
    """Return the writes that make a domain; as one group, they hold only if the owner has none of that name."""
    return (
        Put(_key(domain), _to_item(domain), when=[Absent()]),
        Put(_listing(domain), {"name": domain.name}),
    )


class Domains:
    """Reads and writes domains."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, domain: Domain) -> bool:
        """Store a new domain; False if its owner has one of that name, or is gone."""
        return await self._records.atomically([*domain_puts(domain), _owner_exists(domain)])

    async def get(self, name: str, owner: Owner) -> Domain | None:
        """Return the owner's own domain of that name, or None."""
        item = await self._records.get(_key_of(name, owner))
        return None if item is None else _from_item(item)

    async def find(self, name: str, server_id: int, organization_id: int) -> Domain | None:
        """Return the domain of that name of a server, or with 0 of an organization; None if there is none."""
        item = await self._records.get(domain_key(name, server_id=server_id or None, organization_id=organization_id))
        return None if item is None else _from_item(item)

    async def usable_by(self, name: str, server: Server) -> Sequence[Domain]:
        """Return the domains of that name that a server may use: its own first, then its organization's."""
        keys = [
            domain_key(name, server_id=server.id),
            domain_key(name, organization_id=server.organization_id),
        ]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found]

    async def named(self, name: str, *, limit: int = 100) -> Sequence[Domain]:
        """Return the domains of that name, whoever owns them, at most ``limit``."""
        page = await self._records.query(domain_key(name, server_id=0).partition, limit=limit)
        return [_from_item(item) for _, item in page.items]

    async def page(
        self, owner: Owner, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[Sequence[Domain], str | None]:
        """Return some of the owner's own domains by name, and the cursor of the next ones, None at the end."""
        partition = _listing_of("", owner).partition
        page = await self._records.query(partition, at_least=_LISTED, below=_LISTED_END, limit=limit, cursor=cursor)
        keys = [_key_of(text(item, "name"), owner) for _, item in page.items]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found], page.cursor

    async def mark_verified(self, domain: Domain, at: datetime, *, trusted: bool, check_due: datetime) -> Domain | None:
        """Note that mail may be sent from it and return it as it is now; None if it is gone."""
        attributes: Item = {"verified_at": to_ms(at), "trusted": trusted, "check_due": to_ms(check_due)}
        item = await self._records.update(
            Update(_key(domain), set=attributes, add=_CHECK_MOMENT, when=[Exists()]),
        )
        return None if item is None else _from_item(item)

    async def mark_return_path(self, domain: Domain, *, own: bool) -> Domain | None:
        """Note whether the domain's own return path leads to us; None if the domain is gone."""
        item = await self._records.update(Update(_key(domain), set={"own_return_path": own}, when=[Exists()]))
        return None if item is None else _from_item(item)

    async def save_check(
        self,
        domain: Domain,
        check: DNSCheck | None,
        due: datetime | None,
        *,
        own_return_path: bool | None = None,
    ) -> Domain | None:
        """Store a new check and when the next is due, as far as given; return the domain as it is now.

        ``own_return_path`` as ``mark_return_path`` has it; None: not known, so unchanged.
        None if it is gone, or somebody else stored a check since it was read.
        """
        attributes: Item = {}
        add = {} if check is not None else _CHECK_MOMENT
        if due is not None:
            attributes["check_due"] = to_ms(due)
        if check is not None:
            attributes |= {"dns": _check_value(check), "dns_at": to_ms(check.at), "dns_told": check.told}
        if own_return_path is not None:
            attributes["own_return_path"] = own_return_path
        # The token tells it from one of the same name that was added after this was removed.
        when: list[Condition] = [Exists(), Equals("verification_token", domain.verification_token)]
        if domain.check is not None or domain.check_due is not None:
            when.append(Equals("dns_at", to_ms_or_zero(domain.check.at if domain.check else None)))
        if domain.check_due is not None:
            when.append(Equals("check_due", to_ms(domain.check_due)))
        item = await self._records.update(Update(_key(domain), set=attributes, add=add, when=when))
        return None if item is None else _from_item(item)

    async def mark_told(self, domain: Domain, check: DNSCheck) -> None:
        """Note that the servers concerned know of this check.  Twice, or after a newer check: nothing more."""
        when = [Equals("dns_at", to_ms(check.at))]
        await self._records.update(Update(_key(domain), set={"dns_told": True}, when=when))

    async def remove(self, domain: Domain) -> None:
        """Remove it.  Twice: nothing more."""
        await self._records.atomically([Delete(_key(domain)), Delete(_listing(domain))])


def _key(domain: Domain) -> Key:
    return domain_key(domain.name, server_id=domain.server_id, organization_id=domain.organization_id)


def _listing(domain: Domain) -> Key:
    return domain_listing_key(domain.name, server_id=domain.server_id, organization_id=domain.organization_id)


def _key_of(name: str, owner: Owner) -> Key:
    if isinstance(owner, Server):
        return domain_key(name, server_id=owner.id)
    return domain_key(name, organization_id=owner.id)


def _listing_of(name: str, owner: Owner) -> Key:
    if isinstance(owner, Server):
        return domain_listing_key(name, server_id=owner.id)
    return domain_listing_key(name, organization_id=owner.id)


def _owner_exists(domain: Domain) -> Write:
    """Return a write that changes nothing, and fails the group when the owner is gone."""
    if domain.server_id is None:
        key, owner_id = organization_key(domain.organization_id), int(domain.organization_id)
    else:
        key, owner_id = server_key(domain.server_id), int(domain.server_id)
    return Update(key, set={"id": owner_id}, when=[Exists()])


def _to_item(domain: Domain) -> Item:
    return {
        "name": domain.name,
        "organization_id": domain.organization_id,
        "server_id": domain.server_id or 0,
        "keys": [
            {"algorithm": key.algorithm.value, "selector": key.selector, "public": key.public, "wrapped": key.wrapped}
            for key in domain.keys
        ],
        "verification_token": domain.verification_token,
        "created_at": to_ms(domain.created_at),
        "verified_at": to_ms_or_zero(domain.verified_at),
        "trusted": domain.trusted,
        "own_return_path": domain.own_return_path,
        "check_due": to_ms_or_zero(domain.check_due),
        "dns_at": 0,
    }


def _from_item(item: Item) -> Domain:
    return Domain(
        name=text(item, "name"),
        organization_id=OrganizationId(number(item, "organization_id")),
        server_id=ServerId(number(item, "server_id")) or None,
        keys=tuple(_dkim_key(row) for row in rows(item, "keys")),
        verification_token=text(item, "verification_token"),
        created_at=moment(item, "created_at"),
        verified_at=moment_or_none(item, "verified_at"),
        trusted=flag(item, "trusted"),
        own_return_path=flag(item, "own_return_path"),
        check=_check(item),
        check_due=moment_or_none(item, "check_due"),
    )


def _dkim_key(row: Value) -> DKIMKey:
    if not isinstance(row, dict):
        raise TypeError("attribute keys holds something else than keys")
    return DKIMKey(
        DKIMAlgorithm(text(row, "algorithm")), text(row, "selector"), text(row, "public"), text(row, "wrapped")
    )


def _check_value(check: DNSCheck) -> Value:
    return {
        "since": to_ms(check.since),
        "exists": check.exists,
        "findings": [
            {"record": each.record.value, "selector": each.selector, "status": each.status.value, "error": each.error}
            for each in check.findings
        ],
    }


def _check(item: Item) -> DNSCheck | None:
    kept = item.get("dns")
    if kept is None:
        return None
    if not isinstance(kept, dict):
        raise TypeError("attribute dns is no check")
    findings = tuple(_finding(row) for row in rows(kept, "findings"))
    return DNSCheck(
        moment(item, "dns_at"), moment(kept, "since"), flag(kept, "exists"), findings, flag(item, "dns_told")
    )


def _finding(row: Value) -> Finding:
    if not isinstance(row, dict):
        raise TypeError("attribute findings holds something else than findings")
    return Finding(
        Record(text(row, "record")), DNSStatus(text(row, "status")), text(row, "error"), text(row, "selector")
    )
