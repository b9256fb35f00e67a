"""What every implementation of ``Records`` must do."""

from datetime import timedelta

import pytest

from shared.ports import Absent, Delete, Equals, Exists, Key, LessThan, Put, Update
from tests.contract.conftest import World

KEY = Key("server#1", "message#1")
OTHER = Key("server#1", "message#2")
MINUTE = timedelta(minutes=1)

CONDITIONS = [
    (None, Absent(), True),
    (None, Exists(), False),
    (None, Equals("a", 1), False),
    (None, LessThan("a", 1), False),
    ({"a": 1}, Absent(), False),
    ({"a": 1}, Exists(), True),
    ({}, Exists(), True),
    ({"a": 1}, Equals("a", 1), True),
    ({"a": 1}, Equals("a", 2), False),
    ({"a": 1}, Equals("a", "1"), False),
    ({"a": 1}, Equals("a", True), False),
    ({"a": True}, Equals("a", 1), False),
    ({"a": True}, Equals("a", True), True),
    ({"a": "x"}, Equals("a", "x"), True),
    ({"a": None}, Equals("a", "x"), False),
    ({"b": 1}, Equals("a", 1), False),
    ({"a": 1}, LessThan("a", 2), True),
    ({"a": 2}, LessThan("a", 2), False),
    ({"a": -3}, LessThan("a", -2), True),
    ({"a": "1"}, LessThan("a", 2), False),
    ({"b": 1}, LessThan("a", 2), False),
]


async def numbered(world: World, count: int) -> None:
    """Fill a partition with items 00, 01, …, and put neighbours around it."""
    await world.records.put_many([Put(Key("p", f"{n:02d}"), {"n": n}) for n in range(count)])
    await world.records.put_many([Put(Key("o", "00"), {"n": -1}), Put(Key("q", "00"), {"n": -1})])


class TestGet:
    async def test_a_missing_item_is_none(self, world: World) -> None:
        """Absence is an answer, not an error."""
        assert await world.records.get(KEY) is None

    async def test_returns_every_kind_of_value(self, world: World) -> None:
        """Numbers, booleans and None must not turn into one another."""
        item = {
            "s": "ü\x00\n",
            "i": 2**53,
            "t": True,
            "f": False,
            "n": None,
            "l": [1, "a", [None]],
            "d": {"x": {"y": 0}},
        }

        await world.records.put(Put(KEY, item))

        found = await world.records.get(KEY)
        assert found == item
        assert found["t"] is True
        assert found["n"] is None

    async def test_changing_what_was_read_changes_nothing_stored(self, world: World) -> None:
        """A caller that edits its copy must not write by accident."""
        await world.records.put(Put(KEY, {"l": [1]}))

        (await world.records.get(KEY))["l"].append(2)

        assert await world.records.get(KEY) == {"l": [1]}

    async def test_an_item_is_gone_at_its_expiry(self, world: World) -> None:
        """Expired items are never returned, pruned or not."""
        await world.records.put(Put(KEY, {"a": 1}, expires_at=world.clock() + MINUTE))

        assert await world.records.get(KEY) == {"a": 1}
        world.advance(MINUTE)
        assert await world.records.get(KEY) is None


class TestGetMany:
    async def test_returns_only_what_exists(self, world: World) -> None:
        """Missing and expired keys are left out."""
        await world.records.put(Put(KEY, {"a": 1}))
        await world.records.put(Put(OTHER, {"a": 2}, expires_at=world.clock() + MINUTE))
        world.advance(MINUTE)

        assert await world.records.get_many([KEY, OTHER, Key("x", "y"), KEY]) == {KEY: {"a": 1}}

    async def test_takes_any_number_of_keys(self, world: World) -> None:
        """DynamoDB's limit of 100 keys is the adapter's affair."""
        keys = [Key("p", f"{n:03d}") for n in range(230)]
        await world.records.put_many([Put(key, {"s": key.sort}) for key in keys])

        found = await world.records.get_many(keys)

        assert found == {key: {"s": key.sort} for key in keys}

    async def test_no_keys_give_nothing(self, world: World) -> None:
        """An empty list is no error."""
        assert await world.records.get_many([]) == {}


class TestPut:
    async def test_replaces_the_whole_item(self, world: World) -> None:
        """Attributes of the old item must not shine through."""
        await world.records.put(Put(KEY, {"a": 1, "b": 2}))

        assert await world.records.put(Put(KEY, {"a": 3}))

        assert await world.records.get(KEY) == {"a": 3}

    @pytest.mark.parametrize(("before", "condition", "holds"), CONDITIONS)
    async def test_obeys_its_condition(self, world: World, before: dict | None, condition: object, holds: bool) -> None:
        """A put whose condition fails leaves the item as it was."""
        if before is not None:
            await world.records.put(Put(KEY, before))

        assert await world.records.put(Put(KEY, {"new": 1}, when=(condition,))) is holds

        assert await world.records.get(KEY) == ({"new": 1} if holds else before)

    async def test_all_conditions_must_hold(self, world: World) -> None:
        """Conditions are conjunctions."""
        await world.records.put(Put(KEY, {"a": 1, "b": 1}))

        assert not await world.records.put(Put(KEY, {}, when=(Equals("a", 1), Equals("b", 2))))

    async def test_an_expired_item_counts_as_absent(self, world: World) -> None:
        """Claims and idempotency keys become free again by expiry alone."""
        await world.records.put(Put(KEY, {"a": 1}, expires_at=world.clock() + MINUTE))
        claim = Put(KEY, {"a": 2}, when=(Absent(),))

        assert not await world.records.put(claim)
        world.advance(MINUTE)
        assert await world.records.put(claim)

    async def test_a_put_without_expiry_takes_the_old_one_away(self, world: World) -> None:
        """The item is replaced whole, its expiry too."""
        await world.records.put(Put(KEY, {"a": 1}, expires_at=world.clock() + MINUTE))

        await world.records.put(Put(KEY, {"a": 2}))

        world.advance(MINUTE)
        assert await world.records.get(KEY) == {"a": 2}

    async def test_twice_is_once(self, world: World) -> None:
        """Everything arrives twice."""
        put = Put(KEY, {"a": 1})

        assert [await world.records.put(put), await world.records.put(put)] == [True, True]

        assert len((await world.records.query("server#1")).items) == 1


class TestPutMany:
    async def test_stores_any_number(self, world: World) -> None:
        """DynamoDB's limit of 25 puts is the adapter's affair."""
        await numbered(world, 260)

        assert len((await world.records.query("p", limit=1000)).items) == 260

    async def test_refuses_conditions(self, world: World) -> None:
        """A batch cannot tell which of its conditions failed."""
        with pytest.raises(ValueError, match="conditions"):
            await world.records.put_many([Put(KEY, {}, when=(Absent(),))])


class TestUpdate:
    async def test_sets_adds_and_removes(self, world: World) -> None:
        """The three ways to change an attribute, and the item as it is now."""
        await world.records.put(Put(KEY, {"a": 1, "b": 2, "c": 3, "d": 4}))

        after = await world.records.update(Update(KEY, set={"a": "x"}, add={"b": 5, "new": -1}, remove=["c", "none"]))

        assert after == {"a": "x", "b": 7, "new": -1, "d": 4}
        assert await world.records.get(KEY) == after

    async def test_makes_a_missing_item(self, world: World) -> None:
        """Counters need no put before the first add."""
        assert await world.records.update(Update(KEY, add={"n": 1})) == {"n": 1}

    async def test_adds_again_when_repeated(self, world: World) -> None:
        """An update is not idempotent by itself; a condition must make it so."""
        await world.records.update(Update(KEY, add={"n": 1}))

        assert await world.records.update(Update(KEY, add={"n": 1})) == {"n": 2}

    @pytest.mark.parametrize(("before", "condition", "holds"), CONDITIONS)
    async def test_obeys_its_condition(self, world: World, before: dict | None, condition: object, holds: bool) -> None:
        """A failed condition answers None and changes nothing."""
        if before is not None:
            await world.records.put(Put(KEY, before))

        after = await world.records.update(Update(KEY, set={"new": 1}, when=(condition,)))

        assert after == ({**(before or {}), "new": 1} if holds else None)
        assert await world.records.get(KEY) == (after if holds else before)

    async def test_keeps_the_expiry(self, world: World) -> None:
        """Touching an item must not make it live for ever."""
        await world.records.put(Put(KEY, {"a": 1}, expires_at=world.clock() + MINUTE))

        await world.records.update(Update(KEY, set={"a": 2}))

        world.advance(MINUTE)
        assert await world.records.get(KEY) is None

    async def test_moves_the_expiry_when_given(self, world: World) -> None:
        """A lease is prolonged by an update."""
        await world.records.put(Put(KEY, {"a": 1}, expires_at=world.clock() + MINUTE))

        await world.records.update(Update(KEY, set={"a": 2}, expires_at=world.clock() + 3 * MINUTE))

        world.advance(2 * MINUTE)
        assert await world.records.get(KEY) == {"a": 2}

    async def test_starts_anew_after_expiry(self, world: World) -> None:
        """Nothing of an expired item, not even its expiry, may come back to life."""
        await world.records.put(Put(KEY, {"old": 1}, expires_at=world.clock() + MINUTE))
        world.advance(MINUTE)

        assert await world.records.update(Update(KEY, add={"n": 1})) == {"n": 1}

        world.advance(MINUTE)
        assert await world.records.get(KEY) == {"n": 1}

    async def test_refuses_to_add_to_text(self, world: World) -> None:
        """A mistake in a key table must not turn into a wrong counter."""
        await world.records.put(Put(KEY, {"a": "x"}))

        with pytest.raises(ValueError, match="a"):
            await world.records.update(Update(KEY, add={"a": 1}))

        assert await world.records.get(KEY) == {"a": "x"}

    async def test_refuses_an_attribute_named_twice(self, world: World) -> None:
        """DynamoDB refuses overlapping paths; so do all."""
        with pytest.raises(ValueError, match="once"):
            await world.records.update(Update(KEY, set={"a": 1}, add={"a": 1}))


class TestDelete:
    async def test_removes_and_may_be_repeated(self, world: World) -> None:
        """Removing what is gone succeeds."""
        await world.records.put(Put(KEY, {"a": 1}))

        assert [await world.records.delete(Delete(KEY)), await world.records.delete(Delete(KEY))] == [True, True]

        assert await world.records.get(KEY) is None

    async def test_obeys_its_condition(self, world: World) -> None:
        """A lock is given back only by its holder."""
        await world.records.put(Put(KEY, {"owner": "me"}))

        assert not await world.records.delete(Delete(KEY, when=(Equals("owner", "you"),)))
        assert await world.records.get(KEY) is not None
        assert await world.records.delete(Delete(KEY, when=(Equals("owner", "me"),)))


class TestAtomically:
    async def test_does_all_writes(self, world: World) -> None:
        """Puts, updates and deletes mix."""
        await world.records.put(Put(OTHER, {"n": 1}))
        third = Key("elsewhere", "3")
        await world.records.put(Put(third, {}))

        done = await world.records.atomically(
            [Put(KEY, {"a": 1}, when=(Absent(),)), Update(OTHER, add={"n": 1}), Delete(third)]
        )

        assert done
        assert await world.records.get_many([KEY, OTHER, third]) == {KEY: {"a": 1}, OTHER: {"n": 2}}

    async def test_does_none_if_the_last_condition_fails(self, world: World) -> None:
        """Uniqueness claims rest on this."""
        writes = [Put(KEY, {"a": 1}), Update(OTHER, add={"n": 1}), Delete(Key("x", "y"), when=(Exists(),))]

        assert not await world.records.atomically(writes)

        assert await world.records.get_many([KEY, OTHER]) == {}

    async def test_takes_25_writes_and_no_more(self, world: World) -> None:
        """The limit is the port's, so that no backend allows more by accident."""
        puts = [Put(Key("p", f"{n:02d}"), {}) for n in range(26)]

        assert await world.records.atomically(puts[:25])
        with pytest.raises(ValueError, match="25"):
            await world.records.atomically(puts)

    async def test_refuses_a_key_twice(self, world: World) -> None:
        """DynamoDB refuses it; so do all."""
        with pytest.raises(ValueError, match="once"):
            await world.records.atomically([Put(KEY, {}), Delete(KEY)])


class TestQuery:
    async def test_returns_the_partition_in_order(self, world: World) -> None:
        """Neighbouring partitions stay out."""
        await numbered(world, 5)

        page = await world.records.query("p")

        assert page.items == [(Key("p", f"{n:02d}"), {"n": n}) for n in range(5)]
        assert page.cursor is None

    async def test_newest_first_turns_the_order_round(self, world: World) -> None:
        """Message lists show the latest on top."""
        await numbered(world, 5)

        page = await world.records.query("p", newest_first=True)

        assert [key.sort for key, _ in page.items] == ["04", "03", "02", "01", "00"]

    @pytest.mark.parametrize("newest_first", [False, True])
    async def test_range_includes_its_start_only(self, world: World, newest_first: bool) -> None:
        """at_least <= sort < below, in either order."""
        await numbered(world, 9)

        page = await world.records.query("p", at_least="02", below="05", newest_first=newest_first)

        assert sorted(key.sort for key, _ in page.items) == ["02", "03", "04"]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    async def test_cursors_visit_each_item_once(self, world: World, limit: int, newest_first: bool) -> None:
        """Pages join without gap or overlap, and the last says so."""
        await numbered(world, 9)
        seen: list[str] = []
        cursor: str | None = None

        for _ in range(20):
            page = await world.records.query(
                "p", at_least="01", below="08", limit=limit, cursor=cursor, newest_first=newest_first
            )
            assert len(page.items) <= limit
            seen += [key.sort for key, _ in page.items]
            cursor = page.cursor
            if cursor is None:
                break

        assert cursor is None
        assert seen == sorted((f"{n:02d}" for n in range(1, 8)), reverse=newest_first)

    async def test_expired_items_are_left_out(self, world: World) -> None:
        """A page may be shorter, but never shows the dead."""
        await world.records.put(Put(Key("p", "1"), {}, expires_at=world.clock() + MINUTE))
        await world.records.put(Put(Key("p", "2"), {}))
        world.advance(MINUTE)

        page = await world.records.query("p")

        assert [key.sort for key, _ in page.items] == ["2"]

    async def test_sorts_by_utf8_bytes(self, world: World) -> None:
        """DynamoDB's order; UTF-16 order would put the emoji before U+FF01."""
        sorts = ["Z", "a", "ü", "\uff01", "\U0001f600"]
        await world.records.put_many([Put(Key("p", sort), {}) for sort in reversed(sorts)])

        page = await world.records.query("p")

        assert [key.sort for key, _ in page.items] == sorts

    async def test_an_unknown_partition_is_empty(self, world: World) -> None:
        """No items is an answer."""
        page = await world.records.query("nowhere")

        assert (list(page.items), page.cursor) == ([], None)
