"""Sending domains, on records in memory."""

import random

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from shared.adapters.keyring import MasterKeyring
from shared.domain.dns import LookupFailed
from shared.domain.dns_records import ownership_value
from shared.domain.errors import InvalidValue, NameTaken, NotFound, NotPermitted
from shared.domain.tenancy import DKIMAlgorithm, Domain, Organization, Scope, Server
from shared.flow.domains import NewDomain, add_domain, delete_domain, find_domain, list_domains
from shared.flow.organizations import create_organization
from shared.flow.servers import NewServer, create_server
from shared.flow.verify_domain import verify_domain
from shared.store.directory import Directory
from tests.fakes.clock import FakeClock
from tests.fakes.records import FakeRecords
from tests.fakes.resolver import FakeResolver


class World:
    """One organization with one server."""

    organization: Organization
    server: Server

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = FakeRecords(self.clock)
        self.rng = random.Random(1)
        self.keyring = MasterKeyring(b"k" * 32)

    async def fill(self) -> None:
        """Make what every test starts with."""
        self.organization = await create_organization("Acme", records=self.records, rng=self.rng, now=self.clock())
        self.server = await create_server(
            NewServer(name="Main"),
            organization=self.organization,
            records=self.records,
            rng=self.rng,
            now=self.clock(),
        )

    async def add(
        self,
        name: str = "example.com",
        *,
        owner: Server | Organization | None = None,
        scope: Scope = Scope.ADMIN,
        trusted: bool = False,
        algorithms: tuple[DKIMAlgorithm, ...] = (DKIMAlgorithm.ED25519,),
    ) -> Domain:
        """Add a domain."""
        return await add_domain(
            NewDomain(name=name, algorithms=algorithms, scope=scope, trusted=trusted),
            owner=owner or self.server,
            records=self.records,
            keyring=self.keyring,
            rng=self.rng,
            now=self.clock(),
        )


@pytest.fixture
async def world() -> World:
    """Return a fresh one for each test."""
    made = World()
    await made.fill()
    return made


class TestAddDomain:
    async def test_is_unverified_with_a_key_for_each_algorithm(self, world: World) -> None:
        """Mail may not leave before the owner of the domain agreed."""
        added = await world.add(algorithms=(DKIMAlgorithm.ED25519, DKIMAlgorithm.RSA))

        assert added.verified_at is None
        assert [key.algorithm for key in added.keys] == [DKIMAlgorithm.RSA, DKIMAlgorithm.ED25519]
        assert [key.selector.rpartition("-")[0] for key in added.keys] == ["eprsa", "eped"]
        assert await find_domain("example.com", records=world.records) == added

    async def test_private_keys_open_only_with_their_context(self, world: World) -> None:
        """A stored key must not serve another domain."""
        key = (await world.add()).keys[0]

        private = world.keyring.unwrap(key.wrapped, context=f"dkim:example.com:{key.selector}")

        assert load_der_private_key(private, None)
        with pytest.raises(InvalidValue):
            world.keyring.unwrap(key.wrapped, context=f"dkim:example.org:{key.selector}")

    async def test_names_are_kept_as_lower_case_a_labels(self, world: World) -> None:
        """From headers are compared with this one form."""
        assert (await world.add("BÜCHER.example.")).name == "xn--bcher-kva.example"

    async def test_owner_has_a_name_once(self, world: World) -> None:
        """A second set of keys would make the published records wrong."""
        await world.add()
        with pytest.raises(NameTaken, match="server main"):
            await world.add("EXAMPLE.com")

    async def test_other_owners_have_their_own(self, world: World) -> None:
        """As in Postal, a server and its organization may both have a domain."""
        mine = await world.add()
        shared = await world.add(owner=world.organization)
        assert mine.verification_token != shared.verification_token
        assert await list_domains(world.server, records=world.records) == ([mine], None)
        assert await list_domains(world.organization, records=world.records) == ([shared], None)

    @pytest.mark.parametrize("scope", [Scope.SERVER, Scope.ORGANIZATION])
    async def test_only_admins_may_trust(self, world: World, scope: Scope) -> None:
        """Otherwise any customer could send as anybody."""
        with pytest.raises(NotPermitted):
            await world.add(scope=scope, trusted=True)
        assert (await world.add(trusted=True)).verified_at == world.clock()

    async def test_refuses_what_is_no_domain(self, world: World) -> None:
        """An address literal or a typo could never be verified."""
        for name in ("", "192.0.2.1", "a b.com", "exa\r\nmple.com"):
            with pytest.raises(InvalidValue):
                await world.add(name)


class TestFindDomain:
    async def test_asks_whose_when_several_have_it(self, world: World) -> None:
        """Showing or deleting the wrong one would be worse than asking."""
        await world.add()
        shared = await world.add(owner=world.organization)
        with pytest.raises(InvalidValue, match="several"):
            await find_domain("example.com", records=world.records)
        assert await find_domain("example.com", owner=world.organization, records=world.records) == shared

    async def test_unknown(self, world: World) -> None:
        """There is no such domain, of anybody or of this owner."""
        with pytest.raises(NotFound):
            await find_domain("example.com", records=world.records)
        with pytest.raises(NotFound, match="main"):
            await find_domain("example.com", owner=world.server, records=world.records)


class TestDeleteDomain:
    async def test_leaves_nothing_of_it(self, world: World) -> None:
        """It can be added again, with new keys."""
        before = dict(world.records._kept)
        domain = await world.add()
        await delete_domain(domain, typed_name="example.com", records=world.records)
        assert world.records._kept == before


class TestVerifyDomain:
    async def test_exact_record_verifies(self, world: World) -> None:
        """Other TXT records of the domain do not matter."""
        domain = await world.add()
        resolver = FakeResolver(txt={"example.com": ["v=spf1 -all", ownership_value(domain)]})

        result = await verify_domain(
            domain, records=world.records, resolver=resolver, return_path_domain="rp.test", now=world.clock()
        )

        assert result.verified
        assert result.domain.verified_at == world.clock()
        assert not result.domain.trusted
        assert await find_domain("example.com", records=world.records) == result.domain

    @pytest.mark.parametrize(
        ("found", "says"),
        [
            ([], "no TXT record"),
            (["v=spf1 -all"], "no ownership record"),
            (["edgepost-verification other"], "another one"),
            (["\x1b[2J" + "x" * 500], "no ownership record"),
        ],
    )
    async def test_says_what_was_found_instead(self, world: World, found: list[str], says: str) -> None:
        """The owner sees at once whether the record is missing, old, or somewhere else."""
        domain = await world.add()
        resolver = FakeResolver(txt={"example.com": found})

        result = await verify_domain(
            domain, records=world.records, resolver=resolver, return_path_domain="rp.test", now=world.clock()
        )

        assert not result.verified
        assert says in result.explanation
        assert ownership_value(domain) in result.explanation
        assert result.explanation.isprintable()
        assert len(result.explanation) < 500

    async def test_part_of_the_token_is_not_enough(self, world: World) -> None:
        """Only who can write to the DNS knows to publish the whole of it."""
        domain = await world.add()
        near = [ownership_value(domain) + "x", ownership_value(domain)[:-1], domain.verification_token]
        resolver = FakeResolver(txt={"example.com": near})
        result = await verify_domain(
            domain, records=world.records, resolver=resolver, return_path_domain="rp.test", now=world.clock()
        )
        assert not result.verified

    async def test_its_own_return_path_counts_only_while_the_alias_is_right(self, world: World) -> None:
        """Bounces to a name that leads elsewhere would be lost."""
        domain = await world.add()
        seen: list[bool] = []
        for target in ("RP.test", "rp.elsewhere.test", "rp.test", ""):
            aliases = {"psrp.example.com": target} if target else {}
            result = await verify_domain(
                domain,
                records=world.records,
                resolver=FakeResolver(cname=aliases),
                return_path_domain="rp.test",
                now=world.clock(),
            )
            domain = result.domain
            seen.append(domain.own_return_path)
        assert seen == [True, False, True, False]

    async def test_no_answer_changes_nothing(self, world: World) -> None:
        """Not knowing is temporary."""
        domain = await world.add()
        with pytest.raises(LookupFailed):
            await verify_domain(
                domain,
                records=world.records,
                resolver=FakeResolver(failing=["example.com"]),
                return_path_domain="rp.test",
                now=world.clock(),
            )
        assert (await find_domain("example.com", records=world.records)).verified_at is None

    async def test_verified_stays_verified(self, world: World) -> None:
        """A record that vanished must not stop mail."""
        domain = await world.add(trusted=True)
        result = await verify_domain(
            domain, records=world.records, resolver=FakeResolver(), return_path_domain="rp.test", now=world.clock()
        )
        assert result.verified
        assert result.domain == domain


class TestDirectoryDomain:
    async def test_verified_before_unverified_and_server_before_organization(self, world: World) -> None:
        """As Postal's authenticated_domain_for_address: an unverified domain never hides a verified one."""
        directory = Directory(world.records, clock=world.clock)
        mine = await world.add()
        assert await directory.domain("example.com", world.server) == mine
        shared = await world.add(owner=world.organization, trusted=True)
        assert await directory.domain("example.com", world.server) == shared

    async def test_no_subdomains(self, world: World) -> None:
        """Exact names only, as in Postal."""
        await world.add(trusted=True)
        assert await Directory(world.records, clock=world.clock).domain("sub.example.com", world.server) is None

    async def test_verification_is_seen_at_once(self, world: World) -> None:
        """Whoever verified a domain sends the next moment."""
        directory = Directory(world.records, clock=world.clock)
        domain = await world.add()
        assert await directory.domain("example.com", world.server) == domain
        resolver = FakeResolver(txt={"example.com": [ownership_value(domain)]})
        await verify_domain(
            domain, records=world.records, resolver=resolver, return_path_domain="rp.test", now=world.clock()
        )
        found = await directory.domain("example.com", world.server)
        assert found is not None
        assert found.verified_at
