"""The doors' view of tenancy: who is calling, and what may they send.

Every door and every node asks for each message, so what was found is kept for
``SEEN_WITHIN``; a change (suspension, a deleted key) is therefore seen everywhere
within that time.  What was *not* found is never kept: a key works from the moment
it is made, and so does a domain from the moment it is verified.
"""

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from shared.domain.credentials import key_hash, networks_around
from shared.domain.event import EventKind
from shared.domain.ids import CredentialId, OrganizationId, ServerId
from shared.domain.tenancy import Credential, CredentialType, Domain, Organization, Server, Tenant
from shared.domain.tracking import TrackDomain
from shared.ports import Clock, Records
from shared.store.credentials import Credentials
from shared.store.domains import Domains
from shared.store.endpoints import Endpoints
from shared.store.organizations import Organizations
from shared.store.servers import Servers
from shared.store.track_domains import TrackDomains

SEEN_WITHIN = timedelta(seconds=5)
TOUCH_EVERY = timedelta(minutes=1)
MAX_KEPT = 10_000
"""Entries of each kind in memory; the oldest make room."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """Values that were read less than ``SEEN_WITHIN`` ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[K, tuple[datetime, V]] = {}

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        read_at, value = found
        # A clock that was set back must not keep a value for longer.
        if timedelta(0) <= self._clock() - read_at < SEEN_WITHIN:
            return value
        del self._kept[key]
        return None

    def keep(self, key: K, value: V, read_at: datetime) -> None:
        """Keep a value whose reading began at ``read_at``."""
        self._kept.pop(key, None)
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (read_at, value)


class Directory:
    """Cached reads of tenancy for doors and nodes: a change is seen within 5 s; a miss is never cached."""

    def __init__(self, records: Records, *, clock: Clock) -> None:
        self._clock = clock
        self._organizations = Organizations(records)
        self._servers = Servers(records)
        self._domains = Domains(records)
        self._credentials = Credentials(records)
        self._endpoints = Endpoints(records)
        self._track_domains = TrackDomains(records)
        self._recent_organizations: _Recent[OrganizationId, Organization] = _Recent(clock)
        self._recent_servers: _Recent[ServerId, Server] = _Recent(clock)
        self._recent_domains: _Recent[tuple[str, ServerId], Domain] = _Recent(clock)
        self._recent_keys: _Recent[tuple[CredentialType, str], Credential] = _Recent(clock)
        self._recent_networks: _Recent[str, Credential] = _Recent(clock)
        self._recent_credentials: _Recent[tuple[ServerId, CredentialId], Credential] = _Recent(clock)
        self._recent_tracking: _Recent[ServerId, Sequence[TrackDomain]] = _Recent(clock)
        self._recent_tellers: _Recent[ServerId, bool] = _Recent(clock)
        self._touched: dict[CredentialId, datetime] = {}

    async def tenant(self, server_id: ServerId) -> Tenant | None:
        """Return the server with its organization, or None if either is gone."""
        server = await self.server(server_id)
        if server is None:
            return None
        organization = await self._organization(server.organization_id)
        return None if organization is None else Tenant(server, organization)

    async def by_key(self, kind: CredentialType, key: str) -> tuple[Tenant, Credential] | None:
        """Return whose API or SMTP key it is; a key of the other kind is none."""
        name = (kind, key_hash(key))
        credential = self._recent_keys.get(name)
        if credential is None:
            read_at = self._clock()
            credential = await self._credentials.by_key(kind, key)
            if credential is None:
                return None
            self._recent_keys.keep(name, credential, read_at)
        return await self._with_tenant(credential)

    async def by_network(self, address: str) -> tuple[Tenant, Credential] | None:
        """Return whose SMTP-IP credential holds the client's address: the most specific one."""
        credential = self._recent_networks.get(address)
        if credential is None:
            read_at = self._clock()
            credential = await self._credentials.by_networks(networks_around(address))
            if credential is None:
                return None
            self._recent_networks.keep(address, credential, read_at)
        return await self._with_tenant(credential)

    async def credential(self, server_id: ServerId, credential_id: CredentialId) -> Credential | None:
        """Return a credential of that server, or None."""
        credential = self._recent_credentials.get((server_id, credential_id))
        if credential is None:
            read_at = self._clock()
            credential = await self._credentials.get(server_id, credential_id)
            if credential is not None:
                self._recent_credentials.keep((server_id, credential_id), credential, read_at)
        return credential

    async def domain(self, name: str, server: Server) -> Domain | None:
        """Return the domain of exactly that name that a server may use, or None.

        A verified one is preferred; among these the server's own wins over its
        organization's (Postal: server.rb, authenticated_domain_for_address).  It
        may be unverified: the caller looks at ``verified_at``.
        """
        domain = self._recent_domains.get((name, server.id))
        if domain is not None:
            return domain
        read_at = self._clock()
        usable = await self._domains.usable_by(name, server)
        domain = next((each for each in usable if each.verified_at), usable[0] if usable else None)
        # An unverified domain may be verified any moment: that counts as a miss.
        if domain is not None and domain.verified_at:
            self._recent_domains.keep((name, server.id), domain, read_at)
        return domain

    async def tracking(self, server: Server) -> Sequence[TrackDomain]:
        """Return the server's tracking domains; none is an answer too, and kept: most servers have none."""
        domains = self._recent_tracking.get(server.id)
        if domains is None:
            read_at = self._clock()
            domains = await self._track_domains.of(server.id)
            self._recent_tracking.keep(server.id, domains, read_at)
        return domains

    async def tells_of_acceptance(self, server_id: ServerId) -> bool:
        """Whether an endpoint of the server wants to be told of accepted messages."""
        if self._recent_tellers.get(server_id):
            return True
        read_at = self._clock()
        wanted = any(each.wants(EventKind.ACCEPTED) for each in await self._endpoints.of(server_id))
        if wanted:
            self._recent_tellers.keep(server_id, True, read_at)
        return wanted

    async def touch(self, credential: Credential, now: datetime) -> None:
        """Note that a credential was used; written at most once a minute for each."""
        last = self._touched.get(credential.id, credential.last_used_at)
        if last is not None and timedelta(0) <= now - last < TOUCH_EVERY:
            return
        if len(self._touched) >= MAX_KEPT:
            self._touched.clear()
        self._touched[credential.id] = now
        await self._credentials.touch(credential, now)

    async def _with_tenant(self, credential: Credential) -> tuple[Tenant, Credential] | None:
        tenant = await self.tenant(credential.server_id)
        return None if tenant is None else (tenant, credential)

    async def server(self, server_id: ServerId) -> Server | None:
        """Return the server, or None if it is gone."""
        server = self._recent_servers.get(server_id)
        if server is None:
            read_at = self._clock()
            server = await self._servers.get(server_id)
            if server is not None:
                self._recent_servers.keep(server_id, server, read_at)
        return server

    async def _organization(self, organization_id: OrganizationId) -> Organization | None:
        organization = self._recent_organizations.get(organization_id)
        if organization is None:
            read_at = self._clock()
            organization = await self._organizations.get(organization_id)
            if organization is not None:
                self._recent_organizations.keep(organization_id, organization, read_at)
        return organization
