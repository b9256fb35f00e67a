"""What is known of the installation as a whole, and its first things, made in one stroke."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import StorageUnavailable
from shared.domain.moments import to_ms
from shared.domain.tenancy import Credential, Domain, Organization, Server
from shared.ports import Absent, Item, Put, Records
from shared.store.credentials import credential_puts
from shared.store.domains import domain_puts
from shared.store.items import moment, number, text
from shared.store.keys import installation_key, user_key
from shared.store.organizations import organization_puts
from shared.store.schema import RECORDS_SCHEMA, schema_problem
from shared.store.servers import server_puts


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The item that says: everything first is there."""

    id: str
    """Random; ties the file of first secrets to this store."""

    initialized_at: datetime
    admin_email: str
    organization: str
    """Permalink."""

    server_id: int
    server: str
    """Permalink."""

    domain: str
    admin_token_hash: str
    metrics_token_hash: str
    master_key_check: str
    """A known text wrapped by the master key: another key does not open it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The first person, for the dashboard."""

    email: str
    password_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstThings:
    """What a new installation starts with."""

    installation: Installation
    admin: Admin
    organization: Organization
    server: Server
    domain: Domain
    api: Credential
    smtp: Credential


class Installations:
    """Reads and writes the installation's own items."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self) -> Installation | None:
        """Return the installation, or None before it was initialized.

        Raises:
            StorageUnavailable: a newer Edgepost has changed the form of the records.
        """
        item = await self._records.get(installation_key())
        if item is None:
            return None
        if problem := schema_problem(item):
            raise StorageUnavailable(problem)
        return _from_item(item)

    async def create(self, first: FirstThings) -> bool:
        """Make everything or nothing; False if it was initialized before, or a permalink was taken just now."""
        admin: Item = {
            "email": first.admin.email,
            "password_hash": first.admin.password_hash,
            "admin": True,
            "created_at": to_ms(first.installation.initialized_at),
        }
        return await self._records.atomically(
            [
                Put(installation_key(), _to_item(first.installation), when=[Absent()]),
                Put(user_key(first.admin.email), admin),
                *organization_puts(first.organization),
                *server_puts(first.server),
                *domain_puts(first.domain),
                *credential_puts(first.api),
                *credential_puts(first.smtp),
            ]
        )


def _to_item(installation: Installation) -> Item:
    return {
        "schema": RECORDS_SCHEMA,
        "id": installation.id,
        "initialized_at": to_ms(installation.initialized_at),
        "admin_email": installation.admin_email,
        "organization": installation.organization,
        "server_id": installation.server_id,
        "server": installation.server,
        "domain": installation.domain,
        "admin_token_hash": installation.admin_token_hash,
        "metrics_token_hash": installation.metrics_token_hash,
        "master_key_check": installation.master_key_check,
    }


def _from_item(item: Item) -> Installation:
    return Installation(
        id=text(item, "id"),
        initialized_at=moment(item, "initialized_at"),
        admin_email=text(item, "admin_email"),
        organization=text(item, "organization"),
        server_id=number(item, "server_id"),
        server=text(item, "server"),
        domain=text(item, "domain"),
        admin_token_hash=text(item, "admin_token_hash"),
        metrics_token_hash=text(item, "metrics_token_hash"),
        master_key_check=text(item, "master_key_check"),
    )
