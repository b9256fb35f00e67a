"""An installation whose domains are checked, and a DNS that tests change."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.domain.dns_records import dkim_record, ownership_value
from shared.domain.tenancy import DKIMAlgorithm, Domain, Organization, Scope, Server
from shared.flow.check_domain import Checked, Checking, check_domain
from shared.flow.domains import NewDomain, add_domain
from shared.flow.due import Scheduling, do_due
from shared.flow.due_checks import DueChecks
from shared.flow.verify_domain import verify_domain
from tests.fakes.installation import Installation
from tests.fakes.resolver import FakeResolver


@dataclass
class World:
    """An installation, and the DNS."""

    here: Installation
    txt: dict[str, Sequence[str]] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    cname: dict[str, str] = field(default_factory=dict)
    resolvers: list[FakeResolver] = field(default_factory=list)

    @property
    def checking(self) -> Checking:
        """What checks need."""
        return Checking(self.here.records, self.here.events, self.here.settings)

    def resolver(self) -> FakeResolver:
        """Return the DNS as it is now."""
        self.resolvers.append(FakeResolver(txt=self.txt, failing=self.failing, missing=self.missing, cname=self.cname))
        return self.resolvers[-1]

    async def add(self, name: str = "example.com", *, owner: Server | Organization | None = None) -> Domain:
        """Add a domain, publish all that is needed, and verify it."""
        domain = await add_domain(
            NewDomain(name=name, algorithms=list(DKIMAlgorithm), scope=Scope.SERVER),
            owner=owner or self.here.server,
            records=self.here.records,
            keyring=self.here.stores.keyring,
            rng=self.here.rng,
            now=self.here.clock(),
        )
        self.publish(domain)
        verified = await verify_domain(
            domain,
            records=self.here.records,
            resolver=self.resolver(),
            return_path_domain="rp.localhost",
            now=self.here.clock(),
        )
        return verified.domain

    def publish(self, domain: Domain) -> None:
        """Publish what is needed."""
        self.txt[domain.name] = [ownership_value(domain), f"v=spf1 a:{self.here.settings.hostname} ~all"]
        self.txt |= {name: [value] for name, value in (dkim_record(domain.name, key) for key in domain.keys)}

    async def check(self, domain: Domain) -> Checked:
        """Check it now."""
        return await check_domain(domain, resolver=self.resolver(), using=self.checking, now=self.here.clock())

    async def tick(self, *, after: timedelta = timedelta(0)) -> int:
        """Run the every-minute stage."""
        self.here.clock.advance(after)
        checks = DueChecks(self.checking, self.resolver)
        return await do_due(using=Scheduling(self.here.settling, self.here.directory, checks), now=self.here.clock())

    async def events(self) -> list[Mapping[str, Any]]:
        """Take the events."""
        return [json.loads(each) for each in await self.here.take_events()]

    def entries(self) -> int:
        """Return how many entries of checks the schedule holds."""
        return sum("#check#" in key.sort for key in self.here.records._kept) - 1  # one is of the installation's domain
