"""How large DynamoDB takes an item to be, by its documentation: emulators get this wrong.

AWS: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".  Names and texts
count in UTF-8; a number is about one byte for two significant digits plus one; null and
booleans are one byte; a list or map is three bytes plus one for each element.
"""

import math
from collections.abc import Mapping

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096


def item_bytes(item: Mapping[str, object]) -> int:
    """Return the size of an item of plain Python values, its keys included."""
    return sum(_text(name) + value_bytes(value) for name, value in item.items())


def value_bytes(value: object) -> int:
    """Return the size of one value.

    Raises:
        TypeError: items hold no such value.
    """
    match value:
        case None | bool():
            return 1
        case str():
            return _text(value)
        case bytes():
            return len(value)
        case int():
            return _number(str(value))
        case list() | tuple():
            return 3 + sum(1 + value_bytes(each) for each in value)
        case Mapping():
            return 3 + sum(1 + _text(name) + value_bytes(each) for name, each in value.items())
        case _:
            raise TypeError(f"a {type(value).__name__} is no value of an item")


def wire_bytes(item: Mapping[str, Mapping[str, object]]) -> int:
    """Return the size of an item in DynamoDB's own JSON form, ``{"name": {"S": "text"}}``."""
    return sum(_text(name) + _wire(value) for name, value in item.items())


def write_units(size: int) -> int:
    """Return the write units of one plain write of an item of so many bytes."""
    return max(1, math.ceil(size / WRITE_UNIT_BYTES))


def read_units(size: int, *, consistent: bool) -> float:
    """Return the read units of reading so many bytes at once."""
    return max(1, math.ceil(size / READ_UNIT_BYTES)) * (1 if consistent else 0.5)


def _wire(value: Mapping[str, object]) -> int:
    [(kind, content)] = value.items()
    match kind, content:
        case "NULL" | "BOOL", _:
            return 1
        case "S", str():
            return _text(content)
        case "N", str():
            return _number(content)
        case "B", bytes():
            return len(content)
        case "L", list():
            return 3 + sum(1 + _wire(each) for each in content)
        case "M", dict():
            return 3 + sum(1 + _text(name) + _wire(each) for name, each in content.items())
        case _:
            raise TypeError(f"a value of kind {kind} is none that we write")


def _number(digits: str) -> int:
    significant = digits.lstrip("-").replace(".", "").strip("0")
    return math.ceil(len(significant) / 2) + 1 + digits.startswith("-")


def _text(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
