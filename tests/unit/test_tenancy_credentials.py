"""Credentials and the doors' view of them, on records in memory."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue, NameTaken, NotFound
from shared.domain.tenancy import CredentialType, Organization, Server
from shared.flow.credentials import (
    Issued,
    NewCredential,
    create_credential,
    delete_credential,
    find_credential,
    list_credentials,
    update_credential,
)
from shared.flow.organizations import create_organization
from shared.flow.servers import NewServer, create_server, suspend_server
from shared.ports import Item, Update
from shared.store.directory import MAX_KEPT, SEEN_WITHIN, Directory, _Recent
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueue
from tests.fakes.records import FakeRecords


class CountingRecords(FakeRecords):
    """Counts updates, to see what is written."""

    updates = 0

    async def update(self, update: Update) -> Item | None:
        """Count, and change one item."""
        self.updates += 1
        return await super().update(update)


class World:
    """One organization with one server."""

    organization: Organization
    server: Server

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = CountingRecords(self.clock)
        self.rng = random.Random(1)
        self.directory = Directory(self.records, clock=self.clock)

    async def fill(self) -> None:
        """Make what every test starts with."""
        self.organization = await create_organization("Acme", records=self.records, rng=self.rng, now=self.clock())
        self.server = await self.another_server()

    async def another_server(self) -> Server:
        """Make a server in the organization."""
        return await create_server(
            NewServer(name="Main"),
            organization=self.organization,
            records=self.records,
            rng=self.rng,
            now=self.clock(),
        )

    async def create(
        self,
        kind: CredentialType = CredentialType.API,
        *,
        network: str = "",
        hold: bool = False,
        server: Server | None = None,
    ) -> Issued:
        """Make a credential."""
        return await create_credential(
            NewCredential(type=kind, name="Key", hold=hold, network=network),
            server=server or self.server,
            records=self.records,
            rng=self.rng,
            now=self.clock(),
        )


@pytest.fixture
async def world() -> World:
    """Return a fresh one for each test."""
    made = World()
    await made.fill()
    return made


class TestCreateCredential:
    async def test_key_is_shown_once_and_stored_nowhere(self, world: World) -> None:
        """A stolen store must not open any door."""
        issued = await world.create()
        assert len(issued.key) == 24
        assert issued.key.isalnum()
        assert issued.key not in repr(world.records._kept)
        assert issued.key not in repr(issued)

    async def test_what_was_made_is_found_as_it_was_made(self, world: World) -> None:
        """Writing and reading must agree on every field."""
        issued = await world.create(hold=True)
        assert await find_credential(world.server, issued.credential.id, records=world.records) == issued.credential

    async def test_network_is_unique_in_the_installation(self, world: World) -> None:
        """Otherwise nobody could say whose mail it is."""
        await world.create(CredentialType.SMTP_IP, network="192.0.2.0/24")
        with pytest.raises(NameTaken, match=r"192\.0\.2\.0/24"):
            await world.create(
                CredentialType.SMTP_IP, network="::ffff:192.0.2.0/120", server=await world.another_server()
            )

    @pytest.mark.parametrize(("kind", "network"), [(CredentialType.SMTP_IP, ""), (CredentialType.API, "192.0.2.0/24")])
    async def test_networks_belong_to_smtp_ip(self, world: World, kind: CredentialType, network: str) -> None:
        """An API key that silently ignored its network would be wider than its owner thinks."""
        with pytest.raises(InvalidValue):
            await world.create(kind, network=network)


class TestUpdateCredential:
    async def test_changes_only_what_is_given(self, world: World) -> None:
        """The key and its last use stay."""
        issued = await world.create()
        await world.directory.touch(issued.credential, world.clock())
        changed = await update_credential(world.server, issued.credential.id, hold=True, records=world.records)
        assert changed == replace(issued.credential, hold=True, last_used_at=world.clock())

    async def test_other_servers_credentials_are_not_found(self, world: World) -> None:
        """What belongs to somebody else looks like nothing."""
        issued = await world.create()
        with pytest.raises(NotFound):
            await update_credential(
                await world.another_server(), issued.credential.id, hold=True, records=world.records
            )


class TestDeleteCredential:
    async def test_key_is_refused_within_five_seconds(self, world: World) -> None:
        """A key that got out must stop working soon, everywhere."""
        issued = await world.create()
        assert await world.directory.by_key(CredentialType.API, issued.key)
        await delete_credential(world.server, issued.credential.id, records=world.records)

        world.clock.advance(SEEN_WITHIN)

        assert await world.directory.by_key(CredentialType.API, issued.key) is None
        assert await list_credentials(world.server, records=world.records) == ([], None)


class TestByKey:
    async def test_finds_tenant_and_credential(self, world: World) -> None:
        """The door knows whom it serves."""
        issued = await world.create()
        found = await world.directory.by_key(CredentialType.API, issued.key)
        assert found is not None
        tenant, credential = found
        assert (tenant.server, tenant.organization, credential) == (world.server, world.organization, issued.credential)

    async def test_key_of_another_kind_is_none(self, world: World) -> None:
        """An API key that got into a mail client's settings must not work there."""
        issued = await world.create()
        assert await world.directory.by_key(CredentialType.SMTP, issued.key) is None

    async def test_new_key_works_at_once(self, world: World) -> None:
        """A miss is never kept: who makes a key uses it the next moment."""
        rng = random.Random()
        rng.setstate(world.rng.getstate())
        key = (await world.create()).key
        world.rng = rng
        await delete_credential(
            world.server, (await list_credentials(world.server, records=world.records))[0][0].id, records=world.records
        )
        assert await world.directory.by_key(CredentialType.API, key) is None
        assert (await world.create()).key == key
        assert await world.directory.by_key(CredentialType.API, key)

    async def test_suspension_is_seen_within_five_seconds(self, world: World) -> None:
        """What is kept in memory grows old together, not one after the other."""
        issued = await world.create()
        await world.directory.tenant(world.server.id)
        world.clock.advance(timedelta(seconds=4))
        await world.directory.by_key(CredentialType.API, issued.key)
        await suspend_server("main", "spam", records=world.records, events=FakeQueue(world.clock), now=world.clock())
        world.clock.advance(SEEN_WITHIN)

        found = await world.directory.by_key(CredentialType.API, issued.key)

        assert found is not None
        assert found[0].suspended

    async def test_clock_set_back_keeps_nothing_longer(self, world: World) -> None:
        """An NTP step must not prolong a deleted key."""
        issued = await world.create()
        assert await world.directory.by_key(CredentialType.API, issued.key)
        await delete_credential(world.server, issued.credential.id, records=world.records)
        world.clock.advance(timedelta(hours=-1))
        assert await world.directory.by_key(CredentialType.API, issued.key) is None


class TestByNetwork:
    async def test_most_specific_wins(self, world: World) -> None:
        """As in Postal; a mapped address counts as its IPv4 self."""
        wide = await world.create(CredentialType.SMTP_IP, network="192.0.0.0/16")
        narrow = await world.create(CredentialType.SMTP_IP, network="192.0.2.0/24")
        for address, expected in [("192.0.2.1", narrow), ("::ffff:192.0.2.1", narrow), ("192.0.3.1", wide)]:
            found = await world.directory.by_network(address)
            assert found is not None
            assert found[1] == expected.credential
        assert await world.directory.by_network("198.51.100.1") is None
        assert await world.directory.by_network("2001:db8::1") is None


class TestTouch:
    async def test_written_at_most_once_a_minute(self, world: World) -> None:
        """A busy key must not cost a write for each message."""
        issued = await world.create()
        before = world.records.updates
        for _ in range(120):
            await world.directory.touch(issued.credential, world.clock())
            world.clock.advance(timedelta(seconds=1))
        assert world.records.updates - before == 2

    async def test_does_not_bring_a_deleted_one_back(self, world: World) -> None:
        """The last message of a deleted key must not make half a credential."""
        issued = await world.create()
        await delete_credential(world.server, issued.credential.id, records=world.records)
        kept = dict(world.records._kept)
        await world.directory.touch(issued.credential, world.clock())
        assert world.records._kept == kept


class TestRecent:
    def test_is_bounded(self) -> None:
        """Any number of client addresses must fit; the oldest make room."""
        clock = FakeClock()
        recent: _Recent[int, str] = _Recent(clock)
        for number in range(MAX_KEPT + 50):
            recent.keep(number, "x", clock())
        assert len(recent._kept) == MAX_KEPT
        assert recent.get(0) is None
        assert recent.get(MAX_KEPT + 49) == "x"
