"""Where the keys of tokens lie: the fake, the file and the parameter keep the same promises."""

import random
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.adapters.aws.token_key_parameter import TokenKeyParameter
from shared.adapters.embedded.token_key_file import TokenKeyFile
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.flow.token_keys import READ_AGAIN, READ_AT_ONCE, TokenSource, ensure_keys, known_keys, rotate_keys
from shared.ports import TokenKeyStore
from tests.fakes.clock import FakeClock
from tests.fakes.token_keys import FakeTokenKeys

RNG = random.Random(4)


@pytest.fixture(params=["fake", "file", "parameter"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenKeyStore]:
    """Give each kind of store in turn, empty."""
    if request.param == "parameter":
        cloud = request.getfixturevalue("cloud")
        cloud.emulator.reset()
        yield TokenKeyParameter(cloud.clients, "/edgepost/test")
    else:
        yield FakeTokenKeys() if request.param == "fake" else TokenKeyFile(tmp_path / "data")


class TestStores:
    def test_give_back_what_was_written(self, store: TokenKeyStore) -> None:
        """Byte for byte."""
        assert store.read() is None
        assert store.write('{"a": 1}\n', instead_of=None)
        assert store.read() == '{"a": 1}\n'
        assert store.write("two", instead_of='{"a": 1}\n')
        assert store.read() == "two"

    def test_never_overwrite_what_the_caller_has_not_seen(self, store: TokenKeyStore) -> None:
        """A key that signed and is lost makes links lead nowhere."""
        assert not store.write("x", instead_of="something")
        store.write("one", instead_of=None)
        assert not store.write("x", instead_of=None)
        assert not store.write("x", instead_of="other")
        assert store.read() == "one"


class TestKeys:
    def test_are_made_once(self, store: TokenKeyStore) -> None:
        """Every start finds the first ones."""
        assert known_keys(store) is None
        first = ensure_keys(store, RNG.randbytes)
        assert ensure_keys(store, RNG.randbytes) == first == known_keys(store)

    def test_rotation_keeps_the_old_ones(self, store: TokenKeyStore) -> None:
        """Links work for ever."""
        first = ensure_keys(store, RNG.randbytes)
        second = rotate_keys(store, RNG.randbytes)

        assert second.current != first.current
        assert {**first.keys, **second.keys} == second.keys == (known_keys(store) or first).keys

    def test_damaged_ones_are_never_replaced(self, store: TokenKeyStore) -> None:
        """Somebody may still have a backup of them."""
        store.write("nonsense", instead_of=None)
        for work in (ensure_keys, rotate_keys):
            with pytest.raises(InvalidValue, match="restore them from a backup"):
                work(store, RNG.randbytes)
        assert store.read() == "nonsense"


class TestFile:
    def test_is_for_its_owner_only(self, tmp_path: Path) -> None:
        """Who reads it can forge every link."""
        file = TokenKeyFile(tmp_path / "data")
        rotate_keys(file, RNG.randbytes)
        rotate_keys(file, RNG.randbytes)

        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert sorted(path.name for path in file.path.parent.iterdir()) == ["token-keys.json", "token-keys.lock"]

    def test_rotations_at_once_lose_no_key(self, tmp_path: Path) -> None:
        """Each may have signed something already."""
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: _rotated(tmp_path), range(12)))

        kept = known_keys(TokenKeyFile(tmp_path))
        assert kept is not None
        assert {key for each in made for key in each} <= set(kept.keys)

    def test_one_that_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        """Never a reason to make new keys."""
        (tmp_path / "token-keys.json").mkdir()
        with pytest.raises(StorageUnavailable):
            ensure_keys(TokenKeyFile(tmp_path), RNG.randbytes)


def _rotated(directory: Path) -> set[str]:
    while True:
        try:
            return set(rotate_keys(TokenKeyFile(directory), random.SystemRandom().randbytes).keys)
        except StorageUnavailable:
            continue  # five others were faster


class TestTokenSource:
    async def test_reads_now_and_then(self) -> None:
        """Not for every message, and a rotation is seen everywhere."""
        clock, kept = FakeClock(), FakeTokenKeys()
        source = TokenSource(kept, clock=clock, random_bytes=RNG.randbytes)
        first = await source.tokens()
        reads = kept.reads
        assert await source.tokens() is first
        assert kept.reads == reads

        keys = rotate_keys(kept, RNG.randbytes)
        clock.advance(READ_AGAIN)
        assert (await source.tokens()).knows(keys.current)

    async def test_unknown_key_ids_cause_few_readings(self) -> None:
        """A forger may name another in every request."""
        clock, kept = FakeClock(), FakeTokenKeys()
        source = TokenSource(kept, clock=clock, random_bytes=RNG.randbytes)
        await source.tokens()
        reads = kept.reads
        for _ in range(100):
            await source.tokens("ffff")
        assert kept.reads == reads

        clock.advance(READ_AT_ONCE)
        await source.tokens("ffff")
        assert kept.reads == reads + 1

    async def test_goes_on_with_what_it_has(self) -> None:
        """A disk that fails for a moment stops no mail."""
        clock, kept = FakeClock(), _FailingKeys()
        source = TokenSource(kept, clock=clock, random_bytes=RNG.randbytes)
        first = await source.tokens()
        kept.failing = True
        clock.advance(READ_AGAIN)

        assert await source.tokens() is first
        with pytest.raises(StorageUnavailable):
            await TokenSource(kept, clock=clock, random_bytes=RNG.randbytes).tokens()


class _FailingKeys(FakeTokenKeys):
    failing = False

    def read(self) -> str | None:
        """Return the text, or fail."""
        if self.failing:
            raise StorageUnavailable("away")
        return super().read()
