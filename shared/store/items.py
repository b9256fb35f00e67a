"""Reading an item's attributes by type.

An attribute of another type means that something else than this program wrote the
item: that fails at once instead of travelling on.
"""

from datetime import datetime

from shared.domain.moments import from_ms, from_ms_or_none
from shared.ports import Item, Value


def text(item: Item, name: str) -> str:
    """Return a text; the empty one if the attribute is missing."""
    value = item.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"attribute {name} is not a text")
    return value


def number(item: Item, name: str) -> int:
    """Return a whole number; 0 if the attribute is missing."""
    value = item.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"attribute {name} is not a whole number")
    return value


def hundredths(item: Item, name: str) -> float:
    """Return a number with two decimals, which ``to_hundredths`` made whole: records hold no floats."""
    return number(item, name) / 100


def to_hundredths(value: float) -> int:
    """Return a number as a record holds it."""
    return round(value * 100)


def flag(item: Item, name: str) -> bool:
    """Return yes or no; no if the attribute is missing."""
    return item.get(name, False) is True


def moment(item: Item, name: str) -> datetime:
    """Return a moment that is always there."""
    return from_ms(number(item, name))


def moment_or_none(item: Item, name: str) -> datetime | None:
    """Return a moment, or None."""
    return from_ms_or_none(number(item, name))


def rows(item: Item, name: str) -> list[Value]:
    """Return a list; an empty one if the attribute is missing."""
    value = item.get(name, [])
    if not isinstance(value, list):
        raise TypeError(f"attribute {name} is not a list")
    return value
