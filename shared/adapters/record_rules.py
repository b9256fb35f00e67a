"""What conditions, updates and atomic groups mean, on plain items.

Types count: DynamoDB keeps booleans and numbers apart, while Python says
``True == 1``.
"""

from collections.abc import Sequence
from typing import assert_never

from shared.ports import MAX_GROUP_WRITES, Absent, Condition, Equals, Exists, Item, LessThan, Update, Write


def check_group(writes: Sequence[Write]) -> None:
    """Refuse a group that no backend may take.

    Raises:
        ValueError: it has too many writes, or names a key twice.
    """
    if len(writes) > MAX_GROUP_WRITES:
        raise ValueError(f"an atomic group has at most {MAX_GROUP_WRITES} writes, not {len(writes)}")
    if len({write.key for write in writes}) < len(writes):
        raise ValueError("an atomic group names each key once")


def check_update(update: Update) -> None:
    """Refuse an update that is ambiguous.

    Raises:
        ValueError: an attribute stands in two of set, add and remove.
    """
    named = [*update.set, *update.add, *update.remove]
    if len(set(named)) < len(named):
        raise ValueError("an update names each attribute once")


def all_hold(conditions: Sequence[Condition], item: Item | None) -> bool:
    """Say whether the item, None for no item, meets every condition."""
    return all(_holds(each, item) for each in conditions)


def changed(item: Item | None, update: Update) -> Item:
    """Return a new item: the old one, or an empty one, after the update.

    Raises:
        ValueError: ``add`` meets something that is no number.
    """
    after: Item = dict(item or {})
    for name in update.remove:
        after.pop(name, None)
    after.update(update.set)
    for name, amount in update.add.items():
        before = after.get(name, 0)
        if type(before) is not int:
            raise ValueError(f"cannot add to attribute {name}: it is no number")
        after[name] = before + amount
    return after


def _holds(condition: Condition, item: Item | None) -> bool:
    match condition:
        case Absent():
            return item is None
        case Exists():
            return item is not None
        case Equals(attribute, value):
            found = None if item is None else item.get(attribute)
            return type(found) is type(value) and found == value
        case LessThan(attribute, value):
            found = None if item is None else item.get(attribute)
            return type(found) is int and found < value
        case _:
            assert_never(condition)
