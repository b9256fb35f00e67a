"""Organizations in the records: the item, its place in the list of all, its unique permalink."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.ids import OrganizationId
from shared.domain.moments import to_ms, to_ms_or_zero
from shared.domain.names import Kind
from shared.domain.tenancy import Organization
from shared.ports import Absent, Delete, Exists, Item, Put, Records, Update, Write
from shared.store.items import moment, moment_or_none, number, text
from shared.store.keys import organization_key, organization_listing_key, permalink_key


def organization_puts(organization: Organization) -> Sequence[Write]:
    """Return the writes that make an organization; as one group, they hold only if id and permalink are free."""
    return (
        Put(organization_key(organization.id), _to_item(organization), when=[Absent()]),
        Put(organization_listing_key(organization.id), {"id": organization.id}),
        Put(permalink_key(Kind.ORGANIZATION, organization.permalink), {"id": organization.id}, when=[Absent()]),
    )


class Organizations:
    """Reads and writes organizations."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, organization: Organization) -> bool:
        """Store a new organization; False if its id or permalink is taken."""
        return await self._records.atomically(organization_puts(organization))

    async def get(self, organization_id: OrganizationId) -> Organization | None:
        """Return the organization, or None."""
        item = await self._records.get(organization_key(organization_id))
        return None if item is None else _from_item(item)

    async def by_permalink(self, permalink: str) -> Organization | None:
        """Return the organization with that permalink, or None."""
        owner = await self._records.get(permalink_key(Kind.ORGANIZATION, permalink))
        return None if owner is None else await self.get(OrganizationId(number(owner, "id")))

    async def page(self, cursor: str | None = None, *, limit: int = 100) -> tuple[Sequence[Organization], str | None]:
        """Return some organizations by id, and the cursor of the next ones, None at the end."""
        page = await self._records.query(organization_listing_key(0).partition, limit=limit, cursor=cursor)
        keys = [organization_key(number(item, "id")) for _, item in page.items]
        found = await self._records.get_many(keys)
        return [_from_item(found[key]) for key in keys if key in found], page.cursor

    async def rename(self, organization: Organization, name: str) -> Organization | None:
        """Change the name and return the organization as it is now; None if it is gone."""
        return await self._change(organization, {"name": name})

    async def suspend(self, organization: Organization, at: datetime, reason: str) -> Organization | None:
        """Suspend it with all its servers; None if it is gone."""
        return await self._change(organization, {"suspended_at": to_ms(at), "suspension_reason": reason})

    async def unsuspend(self, organization: Organization) -> Organization | None:
        """Lift the suspension; None if it is gone."""
        return await self._change(organization, {"suspended_at": 0, "suspension_reason": ""})

    async def remove(self, organization: Organization) -> None:
        """Remove it and free its permalink; its servers and domains must be gone.  Twice: nothing more."""
        await self._records.atomically(
            [
                Delete(organization_key(organization.id)),
                Delete(organization_listing_key(organization.id)),
                Delete(permalink_key(Kind.ORGANIZATION, organization.permalink)),
            ]
        )

    async def _change(self, organization: Organization, attributes: Item) -> Organization | None:
        item = await self._records.update(Update(organization_key(organization.id), set=attributes, when=[Exists()]))
        return None if item is None else _from_item(item)


def _to_item(organization: Organization) -> Item:
    return {
        "id": organization.id,
        "name": organization.name,
        "permalink": organization.permalink,
        "created_at": to_ms(organization.created_at),
        "suspended_at": to_ms_or_zero(organization.suspended_at),
        "suspension_reason": organization.suspension_reason,
    }


def _from_item(item: Item) -> Organization:
    return Organization(
        id=OrganizationId(number(item, "id")),
        name=text(item, "name"),
        permalink=text(item, "permalink"),
        created_at=moment(item, "created_at"),
        suspended_at=moment_or_none(item, "suspended_at"),
        suspension_reason=text(item, "suspension_reason"),
    )
