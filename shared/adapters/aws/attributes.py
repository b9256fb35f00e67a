"""Items as DynamoDB keeps them: typed attributes, and names of our own beside the callers'.

| attribute | what |
| --- | --- |
| ``pk``, ``sk`` | the key |
| ``expires`` | when the item ends, in whole seconds since 1970, rounded up: DynamoDB deletes it some time after |
| ``~`` | the stamp of the last write that had to be recognisable (``dynamodb_records``) |

A caller's attribute of one of these names, or one that begins with ``~``, is kept with a ``~`` before it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from shared.domain.moments import to_ms
from shared.ports import Item, Key, Value

PARTITION = "pk"
SORT = "sk"
EXPIRES = "expires"
STAMP = "~"

_OWN = frozenset((PARTITION, SORT, EXPIRES))
_DIGITS = 38
"""DynamoDB keeps numbers of up to 38 digits (developer guide, "Data types")."""

PARTITION_BYTES = 2048
SORT_BYTES = 1024

# Any: the value of an attribute has the type that its tag says, e.g. {"N": "1"} or {"M": {…}}.
Attribute: TypeAlias = Mapping[str, Any]
Attributes: TypeAlias = Mapping[str, Attribute]


def to_attribute(value: Value) -> dict[str, Any]:
    """Return a value with its type's tag.

    Raises:
        ValueError: a number has more digits than DynamoDB keeps, or it is a float.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            if abs(value) >= 10**_DIGITS:
                raise ValueError(f"a number has at most {_DIGITS} digits")
            return {"N": str(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [to_attribute(each) for each in value]}
        case dict():
            return {"M": {name: to_attribute(each) for name, each in value.items()}}
    raise ValueError(f"items hold no values of type {type(value).__name__}")


def from_attribute(attribute: Attribute) -> Value:
    """Return the plain value of an attribute that ``to_attribute`` made."""
    ((tag, content),) = attribute.items()
    match tag:
        case "NULL":
            return None
        case "BOOL" | "S":
            plain: str | bool = content
            return plain
        case "N":
            return int(content)
        case "L":
            return [from_attribute(each) for each in content]
        case "M":
            return {name: from_attribute(each) for name, each in content.items()}
    raise ValueError(f"something else wrote an attribute of type {tag}")


def name_kept(name: str) -> str:
    """Return the name under which a caller's attribute is kept.

    Raises:
        ValueError: PynamoDB would read the name as a path into a list.
    """
    if "[" in name or "]" in name or not name:
        raise ValueError(f"an attribute cannot be named {name!r}")
    return f"{STAMP}{name}" if name in _OWN or name.startswith(STAMP) else name


def key_attributes(key: Key) -> dict[str, Any]:
    """Return the attributes of a key.

    Raises:
        ValueError: DynamoDB takes no such key (1 to 2048 and 1 to 1024 bytes).
    """
    if not is_possible(key):
        raise ValueError(f"a partition has 1 to {PARTITION_BYTES} bytes and a sort key 1 to {SORT_BYTES}")
    return {PARTITION: {"S": key.partition}, SORT: {"S": key.sort}}


def is_possible(key: Key) -> bool:
    """Say whether an item can have this key; under any other there is none."""
    return 0 < len(key.partition.encode()) <= PARTITION_BYTES and 0 < len(key.sort.encode()) <= SORT_BYTES


def item_attributes(key: Key, item: Item, expires_at: datetime | None) -> dict[str, Any]:
    """Return the whole item as it is stored."""
    kept = {name_kept(name): to_attribute(value) for name, value in item.items()}
    if expires_at is not None:
        kept[EXPIRES] = {"N": str(seconds_up(expires_at))}
    return kept | key_attributes(key)


def key_of(attributes: Attributes) -> Key:
    """Return the key of a stored item."""
    return Key(attributes[PARTITION]["S"], attributes[SORT]["S"])


def item_of(attributes: Attributes) -> Item:
    """Return what the caller stored, without key, expiry and stamp."""
    return {
        name.removeprefix(STAMP): from_attribute(value)
        for name, value in attributes.items()
        if name not in _OWN and name != STAMP
    }


def is_expired(attributes: Attributes, now: datetime) -> bool:
    """Say whether a stored item counts as absent."""
    expires = attributes.get(EXPIRES)
    return expires is not None and int(expires["N"]) <= seconds_down(now)


def seconds_up(moment: datetime) -> int:
    """Return the first whole second that is not before the moment: nothing ends early."""
    return -(-to_ms(moment) // 1000)


def seconds_down(moment: datetime) -> int:
    """Return the whole second that the moment is in."""
    return to_ms(moment) // 1000
