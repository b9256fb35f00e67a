"""Organizations and servers, on records in memory."""

import random
from dataclasses import replace

import pytest

from shared.adapters.keyring import MasterKeyring
from shared.domain.errors import InvalidValue, NameTaken, NotFound, StorageUnavailable
from shared.domain.tenancy import CredentialType, DKIMAlgorithm, Mode, Organization, Scope, Server, Shards
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.domains import NewDomain, add_domain
from shared.flow.organizations import (
    create_organization,
    delete_organization,
    find_organization,
    list_organizations,
    rename_organization,
    suspend_organization,
    unsuspend_organization,
)
from shared.flow.servers import (
    NewServer,
    ServerChanges,
    create_server,
    delete_server,
    find_server,
    list_servers,
    suspend_server,
    unsuspend_server,
    update_server,
)
from shared.store.directory import Directory
from shared.store.paging import every
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from tests.fakes.records import FakeRecords


class World:
    """Records, time and randomness of one test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = FakeRecords(self.clock)
        self.rng = random.Random(1)
        self.keyring = MasterKeyring(b"k" * 32)

    async def organization(self, name: str = "Acme", permalink: str = "") -> Organization:
        """Make an organization."""
        return await create_organization(
            name, permalink=permalink, records=self.records, rng=self.rng, now=self.clock()
        )

    async def server(self, organization: Organization, name: str = "Main", permalink: str = "") -> Server:
        """Make a server."""
        return await create_server(
            NewServer(name=name, permalink=permalink),
            organization=organization,
            records=self.records,
            rng=self.rng,
            now=self.clock(),
        )


@pytest.fixture
def world() -> World:
    """Return a fresh one for each test."""
    return World()


class TestCreateOrganization:
    async def test_same_name_gets_a_number(self, world: World) -> None:
        """Permalinks are unique; names need not be."""
        assert [(await world.organization()).permalink for _ in range(3)] == ["acme", "acme-2", "acme-3"]

    async def test_what_was_made_is_found_as_it_was_made(self, world: World) -> None:
        """Writing and reading must agree on every field."""
        made = await world.organization()
        assert await find_organization("acme", records=world.records) == made

    async def test_a_given_permalink_is_never_replaced(self, world: World) -> None:
        """Who asks for one permalink must not silently get another."""
        await world.organization(permalink="acme")
        with pytest.raises(NameTaken, match="acme"):
            await world.organization(permalink="acme")

    async def test_a_taken_id_is_drawn_again(self, world: World) -> None:
        """Ids are random; two may meet, and neither organization may be lost."""
        first = await world.organization()
        world.rng = random.Random(1)
        second = await world.organization("Other")
        assert {first.name, second.name} == {each.name for each in (await list_organizations(records=world.records))[0]}


class TestListOrganizations:
    async def test_every_one_is_listed_over_all_pages(self, world: World) -> None:
        """A list that stops at a page would hide organizations."""
        made = {(await world.organization(f"O{number}")).id for number in range(250)}
        found = [each.id async for each in every(lambda at: list_organizations(records=world.records, cursor=at))]
        assert set(found) == made
        assert len(found) == 250


class TestRenameOrganization:
    async def test_permalink_stays(self, world: World) -> None:
        """Other systems know the permalink."""
        made = await world.organization()
        assert await rename_organization("acme", "New", records=world.records) == replace(made, name="New")

    async def test_unknown_one_is_not_made(self, world: World) -> None:
        """A change of something that is gone must not bring half of it back."""
        with pytest.raises(NotFound):
            await rename_organization("nobody", "New", records=world.records)


class TestSuspendOrganization:
    async def test_suspends_until_lifted(self, world: World) -> None:
        """The time and the reason are for those who ask later."""
        made = await world.organization()
        suspended = await suspend_organization("acme", "abuse", records=world.records, now=world.clock())
        assert (suspended.suspended_at, suspended.suspension_reason) == (world.clock(), "abuse")
        assert await unsuspend_organization("acme", records=world.records) == made


class TestDeleteOrganization:
    async def test_nothing_of_it_is_left(self, world: World) -> None:
        """A name, network or key that stays behind could never be used again."""
        organization = await world.organization()
        server = await world.server(organization)
        for owner in (organization, server):
            await add_domain(
                NewDomain(name="example.com", algorithms=[DKIMAlgorithm.ED25519], scope=Scope.SERVER),
                owner=owner,
                records=world.records,
                keyring=world.keyring,
                rng=world.rng,
                now=world.clock(),
            )
        for number in range(120):
            await create_credential(
                NewCredential(type=CredentialType.SMTP_IP, name="n", network=f"192.0.2.{number}"),
                server=server,
                records=world.records,
                rng=world.rng,
                now=world.clock(),
            )

        await delete_organization("acme", typed_name="Acme", records=world.records)

        assert world.records._kept == {}

    async def test_needs_the_typed_name(self, world: World) -> None:
        """The permalink alone is too easily the wrong one."""
        await world.organization()
        with pytest.raises(InvalidValue):
            await delete_organization("acme", typed_name="acme", records=world.records)
        assert await find_organization("acme", records=world.records)


class TestCreateServer:
    async def test_what_was_made_is_found_as_it_was_made(self, world: World) -> None:
        """Writing and reading must agree on every field; shards start at one from now on."""
        organization = await world.organization()
        made = await world.server(organization)

        assert await find_server("main", records=world.records) == made
        assert made.shards == (Shards(world.clock(), 1),)
        assert made.mode is Mode.LIVE
        assert len(made.token) == 6
        assert made.token.islower()

    async def test_permalink_is_unique_in_the_installation(self, world: World) -> None:
        """Commands name a server by its permalink alone."""
        one, two = await world.organization("One"), await world.organization("Two")
        assert (await world.server(one)).permalink == "main"
        assert (await world.server(two)).permalink == "main-2"
        with pytest.raises(NameTaken):
            await world.server(two, permalink="main")

    async def test_refused_in_a_removed_organization(self, world: World) -> None:
        """A server without an organization could send and never be suspended."""
        organization = await world.organization()
        await delete_organization("acme", typed_name="Acme", records=world.records)
        with pytest.raises(StorageUnavailable):
            await world.server(organization)
        assert world.records._kept == {}


class TestListServers:
    async def test_lists_those_of_one_organization(self, world: World) -> None:
        """What belongs to others is not shown."""
        one, two = await world.organization("One"), await world.organization("Two")
        mine = await world.server(one)
        await world.server(two)
        assert await list_servers(one, records=world.records) == ([mine], None)


class TestUpdateServer:
    async def test_changes_only_what_is_given(self, world: World) -> None:
        """Two people who change two things must not undo each other."""
        made = await world.server(await world.organization())
        await update_server("main", ServerChanges(privacy_mode=True), records=world.records)
        changed = await update_server("main", ServerChanges(mode=Mode.DEVELOPMENT), records=world.records)
        assert changed == replace(made, privacy_mode=True, mode=Mode.DEVELOPMENT)

    async def test_no_can_be_said_too(self, world: World) -> None:
        """None leaves a thing as it is; False is a value."""
        await world.server(await world.organization())
        await update_server("main", ServerChanges(allow_sender=True), records=world.records)
        changed = await update_server("main", ServerChanges(allow_sender=False), records=world.records)
        assert changed.allow_sender is False

    async def test_thresholds_are_kept_exactly(self, world: World) -> None:
        """Records hold no floats; what was set is what is compared with."""
        made = await world.server(await world.organization())
        changes = ServerChanges(spam_threshold=-0.29, spam_failure_threshold=12.35, outbound_spam_threshold=8.1)
        changed = await update_server("main", changes, records=world.records)
        assert changed == replace(made, spam_threshold=-0.29, spam_failure_threshold=12.35, outbound_spam_threshold=8.1)
        changed = await update_server("main", ServerChanges(outbound_spam_threshold="none"), records=world.records)
        assert changed.outbound_spam_threshold is None

    async def test_thresholds_out_of_range_change_nothing(self, world: World) -> None:
        """A threshold of 0 for failing would refuse most mail."""
        made = await world.server(await world.organization())
        with pytest.raises(InvalidValue):
            await update_server(
                "main", ServerChanges(privacy_mode=True, spam_failure_threshold=0.0), records=world.records
            )
        assert await find_server("main", records=world.records) == made

    async def test_pool_must_be_a_name(self, world: World) -> None:
        """The pool's name becomes a queue's."""
        await world.server(await world.organization())
        with pytest.raises(InvalidValue):
            await update_server("main", ServerChanges(ip_pool="a b"), records=world.records)


class TestSuspendServer:
    async def test_suspends_until_lifted(self, world: World) -> None:
        """Doors look at the moment, people at the reason."""
        made = await world.server(await world.organization())
        suspended = await suspend_server(
            "main", "spam", records=world.records, events=FakeQueue(world.clock), now=world.clock()
        )
        assert suspended.suspended_at == world.clock()
        tenant = await Directory(world.records, clock=world.clock).tenant(made.id)
        assert tenant is not None
        assert tenant.suspended
        assert await unsuspend_server("main", records=world.records) == made


class TestDeleteServer:
    async def test_its_permalink_is_free_again(self, world: World) -> None:
        """A typo must not block a name for ever."""
        organization = await world.organization()
        await world.server(organization)
        await delete_server("main", typed_name="Main", records=world.records)
        assert (await world.server(organization)).permalink == "main"

    async def test_twice_is_not_found(self, world: World) -> None:
        """The second time there is nothing to confirm."""
        await world.server(await world.organization())
        await delete_server("main", typed_name="Main", records=world.records)
        with pytest.raises(NotFound):
            await delete_server("main", typed_name="Main", records=world.records)
