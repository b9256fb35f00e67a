"""What every implementation of ``Bodies`` must do."""

import random
from datetime import timedelta

import pytest

from tests.contract.conftest import World

DAY = timedelta(days=1)
RANDOM = random.Random(5)  # incompressible on purpose, so that the larger one does not fit a row

CASES = {
    "empty": b"",
    "small": b"Subject: hello\r\n\r\nLine\r\n.\r\n\xff\x00",
    "compressible": b"a line of text that repeats\r\n" * 40_000,
    "medium": RANDOM.randbytes(100_000),
    "large": RANDOM.randbytes(400_000),
}


class TestGet:
    @pytest.mark.parametrize("raw", CASES.values(), ids=CASES)
    async def test_returns_exactly_what_was_put(self, world: World, raw: bytes) -> None:
        """A changed byte breaks every DKIM signature."""
        await world.bodies.put("server/1", raw, expires_at=world.clock() + DAY)

        assert await world.bodies.get("server/1") == raw

    async def test_a_missing_body_is_none(self, world: World) -> None:
        """Absence is an answer, not an error."""
        assert await world.bodies.get("nothing") is None

    @pytest.mark.parametrize("raw", [CASES["small"], CASES["large"]], ids=["small", "large"])
    async def test_a_body_is_gone_at_its_expiry(self, world: World, raw: bytes) -> None:
        """Retention is a promise to customers, whether pruned or not."""
        await world.bodies.put("k", raw, expires_at=world.clock() + DAY)

        world.advance(DAY)

        assert await world.bodies.get("k") is None


class TestPut:
    @pytest.mark.parametrize("raw", CASES.values(), ids=CASES)
    async def test_twice_is_once(self, world: World, raw: bytes) -> None:
        """Accept repeats the put when it is repeated."""
        await world.bodies.put("k", raw, expires_at=world.clock() + DAY)
        await world.bodies.put("k", raw, expires_at=world.clock() + DAY)

        assert await world.bodies.get("k") == raw

    async def test_keys_are_any_text(self, world: World) -> None:
        """No key may climb out of a directory or meet another."""
        keys = ["../../etc/passwd", "a/b", "a//b", "ü", "A/B"]

        for key in keys:
            await world.bodies.put(key, key.encode() * 50_000, expires_at=world.clock() + DAY)

        for key in keys:
            assert await world.bodies.get(key) == key.encode() * 50_000


class TestDelete:
    @pytest.mark.parametrize("raw", [CASES["small"], CASES["large"]], ids=["small", "large"])
    async def test_removes_and_may_be_repeated(self, world: World, raw: bytes) -> None:
        """Removing what is gone succeeds."""
        await world.bodies.put("k", raw, expires_at=world.clock() + DAY)

        await world.bodies.delete("k")
        await world.bodies.delete("k")

        assert await world.bodies.get("k") is None
