"""The first start, broken off at every step."""

import asyncio
import json
import random
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from shared.adapters.first_run_file import FirstRunFile
from shared.adapters.keyring import MasterKeyring
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.domain.tenancy import CredentialType
from shared.flow.initialize import FirstRun, initialize, is_initialized
from shared.flow.operators import is_admin_token, may_read_metrics
from shared.flow.organizations import create_organization
from shared.ports import Update, Write
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.keys import installation_key
from shared.store.schema import RECORDS_SCHEMA
from tests.fakes.clock import FakeClock
from tests.fakes.records import FakeRecords

SETTINGS = Settings(dkim_algorithms=("ed25519",))


class Killed(BaseException):
    """Ends the run on the spot, as a kill does: nothing may catch it."""


class MemoryFile:
    """``SecretsFile`` in memory that can be killed before or after writing."""

    def __init__(self) -> None:
        self.content: str | None = None
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def read(self) -> str | None:
        """Return what was written."""
        return self.content

    def write(self, content: str) -> None:
        """Keep the text."""
        self.before()
        self.content = content
        self.after()


class BreakingRecords(FakeRecords):
    """Records whose atomic groups can be broken off before or after they are done."""

    before: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)
    on_group: Callable[[], Awaitable[None]] | None = None

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Do the writes, or what the test wants instead."""
        group = len(writes) > 1
        if group:
            self.before()
            if self.on_group is not None:
                await self.on_group()
        done = await super().atomically(writes)
        if group:
            self.after()
        return done


class World:
    """A new installation."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = BreakingRecords(self.clock)
        self.file = MemoryFile()
        self.rng = random.Random(1)
        self.keyring = MasterKeyring(b"k" * 32)

    async def run(self, settings: Settings = SETTINGS) -> FirstRun:
        """Run the flow under test."""
        return await initialize(
            records=self.records,
            keyring=self.keyring,
            settings=settings,
            file=self.file,
            rng=self.rng,
            now=self.clock(),
        )

    async def check_secrets_work(self, made: FirstRun) -> None:
        """Use every secret of the document."""
        document = made.document()
        directory = Directory(self.records, clock=self.clock)
        for kind, key in [
            (CredentialType.API, document["api_key"]),
            (CredentialType.SMTP, document["smtp"]["password"]),
        ]:
            found = await directory.by_key(kind, key)
            assert found is not None
            assert found[0].server.permalink == document["server"]["permalink"]
            assert found[0].server.id == document["server"]["id"]
            domain = await directory.domain(document["domain"], found[0].server)
            assert domain is not None
            assert domain.trusted
            assert domain.verified_at
        assert await is_admin_token(document["admin_token"], settings=SETTINGS, records=self.records)


@pytest.fixture
def world() -> World:
    """Return a fresh one for each test."""
    return World()


def kill() -> None:
    """End the run."""
    raise Killed


class TestInitialize:
    async def test_makes_everything_that_sending_needs(self, world: World) -> None:
        """The document is what operators and scripts rely on, with exactly these keys."""
        made = await world.run()

        document = made.document()
        assert list(document) == ["admin", "admin_token", "organization", "server", "domain", "api_key", "smtp"]
        assert document["admin"]["email"] == "admin@localhost"
        assert (document["organization"], document["server"]["permalink"]) == ("default", "main")
        assert document["domain"] == "example.test"
        assert document["smtp"]["username"] == "default/main"
        assert made.created
        await world.check_secrets_work(made)

    async def test_twice_gives_the_same(self, world: World) -> None:
        """Whoever runs it again gets what works, not something new."""
        first = await world.run()
        kept = dict(world.records._kept)
        again = await world.run()
        assert again.document() == first.document()
        assert not again.created
        assert world.records._kept == kept

    @pytest.mark.parametrize("step", ["before the file", "after the file", "before the records", "after the records"])
    async def test_killed_at_a_step_the_next_run_completes_it(self, world: World, step: str) -> None:
        """A kill must never leave an installation that nobody can get into, nor half of one."""
        target = world.file if "file" in step else world.records
        setattr(target, step.split(maxsplit=1)[0], kill)
        with pytest.raises(Killed):
            await world.run()
        setattr(target, step.split(maxsplit=1)[0], lambda: None)
        seen = json.loads(world.file.content) if world.file.content else None

        made = await world.run()

        await world.check_secrets_work(made)
        if seen:
            # Somebody may have read the file already: what it said must work.
            assert {name: seen[name] for name in ("admin", "admin_token", "api_key")} == {
                name: made.document()[name] for name in ("admin", "admin_token", "api_key")
            }
        assert json.loads(world.file.content or "")["server"] == made.document()["server"]

    async def test_unknown_outcome_is_found_out_by_the_next_run(self, world: World) -> None:
        """A store that did the work and did not say so is the nastiest failure."""

        def unavailable() -> None:
            raise StorageUnavailable("no answer")

        world.records.after = unavailable
        with pytest.raises(StorageUnavailable):
            await world.run()
        world.records.after = lambda: None
        await world.check_secrets_work(await world.run())

    async def test_secrets_are_null_once_the_file_is_gone(self, world: World) -> None:
        """The operator deleted it on purpose; names are still told."""
        made = await world.run()
        world.file.content = None

        document = (await world.run()).document()

        assert document["admin"] == {"email": "admin@localhost", "password": None}
        assert (document["admin_token"], document["api_key"], document["smtp"]["password"]) == (None, None, None)
        assert document["server"] == made.document()["server"]

    async def test_file_of_another_store_is_not_believed(self, world: World) -> None:
        """Secrets that do not work are worse than none."""
        await world.run()
        other = World()
        other.rng = random.Random(2)
        await other.run()
        world.file.content = other.file.content
        assert (await world.run()).document()["api_key"] is None

    async def test_loser_of_a_race_returns_the_winners(self, world: World) -> None:
        """Without a common lock, two machines may start at once: one installation is made."""
        winner = World()
        winner.records, winner.rng = world.records, random.Random(2)
        made: list[FirstRun] = []

        async def winner_first() -> None:
            world.records.on_group = None
            made.append(await winner.run())

        world.records.on_group = winner_first
        lost = await world.run()

        assert not lost.created
        assert lost.installation == made[0].installation
        assert lost.secrets is None

    async def test_names_in_use_get_a_number(self, world: World) -> None:
        """Organizations may be made before the first start."""
        await create_organization("Default", records=world.records, rng=world.rng, now=world.clock())
        made = await world.run()
        assert made.document()["organization"] == "default-2"
        await world.check_secrets_work(made)

    async def test_another_master_key_is_refused(self, world: World) -> None:
        """Starting with it would mean that no mail can be signed."""
        await world.run()
        world.keyring = MasterKeyring(b"x" * 32)
        with pytest.raises(InvalidValue, match="EDGEPOST_MASTER_KEY"):
            await world.run()

    async def test_store_holds_no_secret(self, world: World) -> None:
        """A stolen store must not open any door."""
        made = await world.run()
        assert made.secrets is not None
        stored = repr(world.records._kept)
        for name in made.secrets.__slots__:
            if name != "installation":
                assert getattr(made.secrets, name) not in stored
                assert getattr(made.secrets, name) not in repr(made)


class TestIsInitialized:
    async def test_no_before_and_yes_after(self, world: World) -> None:
        """A node starts only on a store that has an installation."""
        before = await is_initialized(records=world.records, keyring=world.keyring)
        await world.run()

        assert not before
        assert await is_initialized(records=world.records, keyring=world.keyring)

    async def test_another_master_key_is_refused(self, world: World) -> None:
        """A node with a wrong key could not sign: better that it takes no mail."""
        await world.run()

        with pytest.raises(InvalidValue, match="the master key is not the one"):
            await is_initialized(records=world.records, keyring=MasterKeyring(b"x" * 32))


class TestSchema:
    async def test_newer_records_are_refused(self, world: World) -> None:
        """An old program would misread what a newer one wrote; the operator gets one line that says what to do."""
        await world.run()
        await world.records.update(Update(installation_key(), set={"schema": RECORDS_SCHEMA + 1}))

        with pytest.raises(
            StorageUnavailable, match=r"schema version 2; .* knows versions up to 1: .* backup$"
        ) as found:
            await world.run()

        assert "\n" not in str(found.value)

    async def test_store_without_a_number_is_of_the_first_form(self, world: World) -> None:
        """The first versions wrote none, and their stores go on."""
        made = await world.run()
        await world.records.update(Update(installation_key(), remove=["schema"]))

        assert (await world.run()).installation == made.installation


class TestOperators:
    async def test_token_of_the_settings_always_wins(self, world: World) -> None:
        """Whoever sets it replaces one that got out."""
        made = await world.run()
        old = made.document()["admin_token"]
        settings = Settings(admin_token="new", dkim_algorithms=("ed25519",))

        assert not await is_admin_token(old, settings=settings, records=world.records)
        assert await is_admin_token("new", settings=settings, records=world.records)
        assert (await world.run(settings)).document()["admin_token"] == "new"

    async def test_metrics_open_with_either_token(self, world: World) -> None:
        """A scraper gets a token that opens nothing else."""
        made = await world.run()
        assert made.secrets is not None
        metrics, admin = made.secrets.metrics_token, made.secrets.admin_token

        for token, right in [(metrics, True), (admin, True), ("", False), (made.secrets.api_key, False)]:
            assert await may_read_metrics(token, settings=SETTINGS, records=world.records) is right
        assert not await is_admin_token(metrics, settings=SETTINGS, records=world.records)

    async def test_nothing_opens_before_the_first_start(self, world: World) -> None:
        """An empty store must not be everybody's."""
        for token in ("", "x"):
            assert not await may_read_metrics(token, settings=SETTINGS, records=world.records)


class TestFirstRunFile:
    def test_only_the_owner_reads_it(self, tmp_path: Path) -> None:
        """It holds every secret of the installation."""
        file = FirstRunFile(tmp_path)
        assert file.read() is None
        file.write("one")
        file.write("two")
        assert file.read() == "two"
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["first-run.json"]

    def test_says_why_it_cannot_be_written(self, tmp_path: Path) -> None:
        """A missing directory is the operator's to make."""
        with pytest.raises(StorageUnavailable, match=r"first-run\.json cannot be written"):
            FirstRunFile(tmp_path / "missing").write("x")

    async def test_lock_lets_one_in_at_a_time(self, tmp_path: Path) -> None:
        """Two first starts would overwrite each other's secrets."""
        inside = asyncio.Event()

        async def second() -> None:
            async with FirstRunFile(tmp_path).locked():
                inside.set()

        async with FirstRunFile(tmp_path).locked():
            waiting = asyncio.create_task(second())
            for _ in range(50):
                await asyncio.sleep(0)
            assert not inside.is_set()
        await waiting
        assert inside.is_set()
