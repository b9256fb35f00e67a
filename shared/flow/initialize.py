"""The first start: an admin, an organization, a server, a domain and keys, made once.

A kill at any moment leaves one of three states, and the next run completes each:

| secrets file | store | the next run |
| --- | --- | --- |
| none | empty | starts anew |
| written | empty | takes the secrets from the file, so that what somebody read there works |
| written | complete | reads |

There is no fourth: the file is written first and whole (a rename), and the store
then gets everything in one atomic group whose condition is that it has no
installation yet.  Callers hold a lock, so that two first starts do not overwrite
each other's file; without it, the loser's file names another installation and is
never believed.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.domain.credentials import key_hash
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.domain.first_secrets import Secrets, draw_secrets, secrets_in
from shared.domain.ids import OrganizationId, draw_owner_id
from shared.domain.names import Kind, permalinks_for
from shared.domain.passwords import hash_password
from shared.domain.tenancy import CredentialType, DKIMAlgorithm, Mode, Organization
from shared.flow.credentials import issue
from shared.flow.domains import new_domain, trusted
from shared.flow.plan_check import check_wait, plan_check
from shared.flow.servers import new_server
from shared.ports import Keyring, Records, SecretsFile
from shared.settings import Settings
from shared.store.installation import Admin, FirstThings, Installation, Installations
from shared.store.organizations import Organizations
from shared.store.servers import Servers

ORGANIZATION_NAME = "Default"
SERVER_NAME = "Main"
MAX_TRIES = 5

CHECK_CONTEXT = "installation"
CHECK_TEXT = b"edgepost"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first start made."""

    installation: Installation
    secrets: Secrets | None
    """None once the operator deleted the file."""

    admin_token: str | None = field(repr=False)
    """The one that works: of the settings, else of the file."""

    created: bool
    """Whether this call made it."""

    def document(self) -> dict[str, Any]:
        """Return what ``edgepost initialize --json`` prints; null for a secret that is no longer known."""
        made, secrets = self.installation, self.secrets
        return {
            "admin": {"email": made.admin_email, "password": secrets.admin_password if secrets else None},
            "admin_token": self.admin_token,
            "organization": made.organization,
            "server": {"id": made.server_id, "permalink": made.server},
            "domain": made.domain,
            "api_key": secrets.api_key if secrets else None,
            "smtp": {
                "username": f"{made.organization}/{made.server}",
                "password": secrets.smtp_password if secrets else None,
            },
        }


async def initialize(
    *,
    records: Records,
    keyring: Keyring,
    settings: Settings,
    file: SecretsFile,
    rng: random.Random,
    now: datetime,
) -> FirstRun:
    """Make the first things, or return what was made before.  Twice: the same answer.

    Raises:
        InvalidValue: the master key is not the one that this store was made with.
        StorageUnavailable: nothing is known to have been made; run it again.
    """
    store = Installations(records)
    there = await store.get()
    if there is None:
        secrets = _effective(secrets_in(file.read()) or draw_secrets(rng), settings)
        for _ in range(MAX_TRIES):
            first = await _first_things(secrets, records=records, keyring=keyring, settings=settings, rng=rng, now=now)
            made = FirstRun(first.installation, secrets, secrets.admin_token, created=True)
            file.write(_file_text(made))
            await plan_check(first.domain, records)
            if await store.create(first):
                return made
            there = await store.get()
            if there is not None:
                break
    if there is None:
        raise StorageUnavailable("the first organization and server could not be made: names were taken each time")
    _check_master_key(keyring, there)
    known = secrets_in(file.read())
    if known is not None and known.installation != there.id:
        known = None  # the file is of another store
    admin_token = settings.admin_token or (known.admin_token if known else None)
    return FirstRun(there, known, admin_token, created=False)


async def is_initialized(*, records: Records, keyring: Keyring) -> bool:
    """Whether the first things are there, for one who needs them and makes none.

    Raises:
        InvalidValue: the master key is not the one that this store was made with.
        StorageUnavailable: the store did not answer, or is of a newer version.
    """
    there = await Installations(records).get()
    if there is not None:
        _check_master_key(keyring, there)
    return there is not None


async def _first_things(
    secrets: Secrets,
    *,
    records: Records,
    keyring: Keyring,
    settings: Settings,
    rng: random.Random,
    now: datetime,
) -> FirstThings:
    organization = Organization(
        OrganizationId(draw_owner_id(rng)), ORGANIZATION_NAME, await _free_organization(records), now
    )
    server = new_server(
        SERVER_NAME, await _free_server(records), Mode.LIVE, "default", organization=organization, rng=rng, now=now
    )
    algorithms = [DKIMAlgorithm(each) for each in settings.dkim_algorithms]
    domain = await new_domain(settings.first_domain, algorithms, owner=server, keyring=keyring, rng=rng, now=now)
    api = issue(CredentialType.API, "First API key", server_id=server.id, key=secrets.api_key, rng=rng, now=now)
    smtp = issue(
        CredentialType.SMTP, "First SMTP password", server_id=server.id, key=secrets.smtp_password, rng=rng, now=now
    )
    installation = Installation(
        id=secrets.installation,
        initialized_at=now,
        admin_email=f"admin@{settings.hostname}",
        organization=organization.permalink,
        server_id=server.id,
        server=server.permalink,
        domain=domain.name,
        admin_token_hash=key_hash(secrets.admin_token),
        metrics_token_hash=key_hash(secrets.metrics_token),
        master_key_check=keyring.wrap(CHECK_TEXT, context=CHECK_CONTEXT),
    )
    return FirstThings(
        installation=installation,
        admin=Admin(
            email=installation.admin_email,
            password_hash=await asyncio.to_thread(hash_password, secrets.admin_password),
        ),
        organization=organization,
        server=server,
        # The operator of the installation chose the domain: an admin's word.
        domain=trusted(domain, now, check_due=now + check_wait(settings)),
        api=api.credential,
        smtp=smtp.credential,
    )


async def _free_organization(records: Records) -> str:
    for permalink in permalinks_for(ORGANIZATION_NAME, Kind.ORGANIZATION):
        if await Organizations(records).by_permalink(permalink) is None:
            return permalink
    raise AssertionError("there are endlessly many permalinks")


async def _free_server(records: Records) -> str:
    for permalink in permalinks_for(SERVER_NAME, Kind.SERVER):
        if await Servers(records).by_permalink(permalink) is None:
            return permalink
    raise AssertionError("there are endlessly many permalinks")


def _effective(secrets: Secrets, settings: Settings) -> Secrets:
    return replace(
        secrets,
        admin_token=settings.admin_token or secrets.admin_token,
        metrics_token=settings.metrics_token or secrets.metrics_token,
    )


def _file_text(made: FirstRun) -> str:
    secrets = made.secrets
    extra = {} if secrets is None else {"metrics_token": secrets.metrics_token, "installation": secrets.installation}
    return json.dumps(made.document() | extra, indent=2) + "\n"


def _check_master_key(keyring: Keyring, installation: Installation) -> None:
    try:
        keyring.unwrap(installation.master_key_check, context=CHECK_CONTEXT)
    except InvalidValue as exc:
        raise InvalidValue(
            "the master key is not the one that this store was made with: put the right key into EDGEPOST_MASTER_KEY"
            " or the master key file; without it no mail can be signed"
        ) from exc
