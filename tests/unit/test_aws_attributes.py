"""Items as DynamoDB's attributes, and back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.aws.attributes import (
    from_attribute,
    is_expired,
    is_possible,
    item_attributes,
    item_of,
    key_attributes,
    key_of,
    name_kept,
    seconds_down,
    seconds_up,
    to_attribute,
)
from shared.ports import Item, Key

KEY = Key("p", "s")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**37), 10**37) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["a", "pk", "sk", "expires", "~", "~pk", "~~", "a.b", "ü"]) | st.text(
    st.characters(exclude_characters="[]"), min_size=1
)


class TestAttributes:
    @given(st.dictionaries(NAMES, VALUES, max_size=4))
    def test_come_back_as_they_were(self, item: Item) -> None:
        """No name of a caller's may meet one of ours, and no value may change its type."""
        kept = item_attributes(KEY, item, NOON)

        assert item_of(kept) == item
        assert key_of(kept) == KEY

    def test_leave_out_the_stamp(self) -> None:
        """Callers see what they stored, nothing more."""
        assert item_of({**item_attributes(KEY, {"a": 1}, NOON), "~": {"B": b"12345678"}}) == {"a": 1}

    @pytest.mark.parametrize("value", [10**38, -(10**38), 1.5])
    def test_refuse_numbers_that_would_come_back_changed(self, value: int) -> None:
        """DynamoDB rounds beyond 38 digits, and has no binary floats."""
        with pytest.raises(ValueError, match=r"digits|float"):
            to_attribute(value)

    @pytest.mark.parametrize("name", ["", "a[0]", "]"])
    def test_refuse_names_that_mean_something_else(self, name: str) -> None:
        """``a[0]`` would change the first element of the list ``a``."""
        with pytest.raises(ValueError, match="named"):
            name_kept(name)

    def test_refuse_what_something_else_wrote(self) -> None:
        """A set is no value of ours."""
        with pytest.raises(ValueError, match="SS"):
            from_attribute({"SS": ["a"]})


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "possible"),
        [
            (Key("p", "s"), True),
            (Key("", "s"), False),
            (Key("p", ""), False),
            (Key("p" * 2048, "s" * 1024), True),
            (Key("ü" * 1025, "s"), False),
            (Key("p", "ü" * 513), False),
        ],
    )
    def test_have_limits_in_bytes(self, key: Key, possible: bool) -> None:
        """A stranger's long name is not found; storing under it is refused before AWS does."""
        assert is_possible(key) is possible
        if not possible:
            with pytest.raises(ValueError, match="bytes"):
                key_attributes(key)


class TestExpiry:
    @given(st.integers(0, 10**12))
    def test_never_comes_early_and_less_than_a_second_late(self, microseconds: int) -> None:
        """DynamoDB's TTL counts whole seconds."""
        expires_at = NOON + timedelta(microseconds=microseconds)
        kept = item_attributes(KEY, {}, expires_at)
        millisecond = timedelta(milliseconds=1)

        assert not is_expired(kept, expires_at - millisecond)
        assert is_expired(kept, expires_at + timedelta(seconds=1))

    def test_is_exact_on_whole_seconds(self) -> None:
        """As on the other backends."""
        assert seconds_up(NOON) == seconds_down(NOON)
        assert is_expired(item_attributes(KEY, {}, NOON), NOON)

    def test_without_one_an_item_stays(self) -> None:
        """Most records do not expire."""
        assert not is_expired(item_attributes(KEY, {}, None), NOON)
