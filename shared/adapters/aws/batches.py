"""DynamoDB's batches: many items in one call, of which it may leave some undone.

It does so when a table is busy or an answer would be too large; what was left is asked for
again.  A batch has no conditions, and each of its parts may be done twice.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from shared.adapters.aws.attributes import Attributes
from shared.adapters.aws.dynamodb import DynamoDB
from shared.domain.errors import StorageUnavailable

T = TypeVar("T")

_READ_AT_ONCE = 100
_WRITTEN_AT_ONCE = 25
"""Items of one BatchGetItem and of one BatchWriteItem (DynamoDB API reference)."""


async def read(dynamodb: DynamoDB, table: str, keys: Iterable[Attributes]) -> AsyncIterator[Attributes]:
    """Yield the stored items of these keys, each named once, in no order.

    Raises:
        StorageUnavailable: some were not read.
    """
    for some in _in_groups(keys, _READ_AT_ONCE):
        left = some
        pauses = iter(dynamodb.calls.pauses_s)
        while left:
            request = {table: {"Keys": left, "ConsistentRead": True}}
            answer = await dynamodb.call("BatchGetItem", {"RequestItems": request})
            for attributes in answer["Responses"].get(table, ()):
                yield attributes
            before, left = left, answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            await _rest(dynamodb, before, left, pauses)


async def write(dynamodb: DynamoDB, table: str, items: Iterable[Attributes]) -> None:
    """Put items whole; each key stands in one only.

    Raises:
        StorageUnavailable: some may not have been written.
    """
    for some in _in_groups(items, _WRITTEN_AT_ONCE):
        left = [{"PutRequest": {"Item": item}} for item in some]
        pauses = iter(dynamodb.calls.pauses_s)
        while left:
            answer = await dynamodb.call("BatchWriteItem", {"RequestItems": {table: left}})
            before, left = left, answer.get("UnprocessedItems", {}).get(table, [])
            await _rest(dynamodb, before, left, pauses)


# Any: parts of a batch, which DynamoDB gives back as they were sent.
async def _rest(dynamodb: DynamoDB, before: Sequence[Any], left: Sequence[Any], pauses: Iterator[float]) -> None:
    """Wait before what was left is asked for again; without any progress only a few times."""
    if not left:
        return
    pause = next(pauses, None) if len(left) == len(before) else 0.0
    if pause is None:
        raise StorageUnavailable("AWS left a whole batch undone each time: a table is too busy")
    await dynamodb.calls.rest(pause)


def _in_groups(things: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield the things in lists of at most so many (``itertools.batched`` of Python 3.12)."""
    left = iter(things)
    while some := list(islice(left, most)):
        yield some
