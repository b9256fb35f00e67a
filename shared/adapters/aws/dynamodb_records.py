"""Records in one DynamoDB table, through PynamoDB; docs/decisions/0008 has the reasons.

A reply that is lost must not change the answer.  What each write does about it:

| write | repeated by itself | how one that was carried out is recognised |
| --- | --- | --- |
| put without conditions, delete, put_many | yes: twice is once | it need not be |
| put with conditions, update without ``add`` | yes | the failed condition returns the item, with our stamp |
| update with ``add`` | no | a consistent read finds the item with our stamp |
| atomically, delete with conditions | yes | DynamoDB knows the transaction's token for ten minutes |

If another writer came between the lost reply and the look, nobody can know: ``StorageUnavailable``.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.adapters.aws import batches
from shared.adapters.aws.attributes import (
    STAMP,
    Attributes,
    is_expired,
    is_possible,
    item_attributes,
    item_of,
    key_attributes,
    key_of,
)
from shared.adapters.aws.calls import ConditionFailed, Doubtful, unavailable
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.dynamodb_query import Range
from shared.adapters.aws.expressions import actions, conditions, update_conditions
from shared.adapters.aws.transactions import transact
from shared.adapters.record_rules import changed, check_group, check_update
from shared.domain.errors import StorageUnavailable
from shared.ports import Absent, Delete, Item, Key, Page, Put, Update, Write

MAX_PAGE_ITEMS = 1000
"""Items one query asks for at most, as on SQLite."""

_STAMP_BYTES = 8
_MAX_REVIVALS = 3
"""How often an expired item in the way is replaced before the other writers count as too many."""

_OLD_ITEM = "ALL_OLD"


class DynamoDBRecords:
    """``Records`` in a table with keys ``pk`` and ``sk``; see ``shared.ports`` for what each method promises.

    Expiry has the resolution of a second.
    """

    def __init__(
        self,
        dynamodb: DynamoDB,
        table: str,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Use the table; the clock decides what has expired."""
        dynamodb.add_table(table, sort=True)
        self._dynamodb = dynamodb
        self._table = table
        self._clock = clock
        self._random_bytes = random_bytes

    # --- Reading

    async def get(self, key: Key) -> Item | None:
        """Return the item, or None."""
        found = await self._stored(key) if is_possible(key) else None
        return None if found is None or is_expired(found, self._clock()) else item_of(found)

    async def _stored(self, key: Key) -> Attributes | None:
        request = self._dynamodb.arguments(self._table, key, consistent_read=True)
        answer = await self._dynamodb.call("GetItem", request)
        found: Attributes | None = answer.get("Item")
        return found

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Return those of the items that exist, a hundred in one call."""
        now = self._clock()
        wanted = [key_attributes(key) for key in dict.fromkeys(keys) if is_possible(key)]
        return {
            key_of(found): item_of(found)
            async for found in batches.read(self._dynamodb, self._table, wanted)
            if not is_expired(found, now)
        }

    async def query(
        self,
        partition: str,
        *,
        at_least: str = "",
        below: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of one partition; expired items make it shorter, never the work longer."""
        if limit < 1:
            raise ValueError(f"a page holds at least 1 item, got {limit}")
        wanted = Range(at_least, below, newest_first=newest_first, cursor=cursor)
        if wanted.is_empty or not is_possible(Key(partition, "-")):
            return Page([], None)
        limit = min(limit, MAX_PAGE_ITEMS)
        answer = await self._dynamodb.call("Query", wanted.request(self._table, partition, limit))
        return wanted.page(answer, limit, self._clock())

    # --- Writing one item

    async def put(self, put: Put) -> bool:
        """Store one item; False if a condition did not hold."""
        attributes = item_attributes(put.key, put.item, put.expires_at)
        if not put.when:
            await self._dynamodb.call("PutItem", {"TableName": self._table, "Item": attributes})
            return True
        stamp = self._random_bytes(_STAMP_BYTES)
        request = self._dynamodb.arguments(
            self._table,
            put.key,
            key="Item",
            attributes=attributes | {STAMP: {"B": stamp}},
            condition=conditions(put.when, self._clock()),
            return_values_on_condition_failure=_OLD_ITEM,
        )
        try:
            await self._dynamodb.call("PutItem", request)
        except ConditionFailed as failed:
            return _was_done(failed, stamp)
        return True

    async def update(self, update: Update) -> Item | None:
        """Change one item and return it as it is now; None if a condition did not hold."""
        check_update(update)
        for _ in range(_MAX_REVIVALS):
            now = self._clock()
            try:
                return item_of(await self._update(update, now))
            except ConditionFailed as failed:
                in_the_way = failed.item
            if in_the_way is None or not is_expired(in_the_way, now):
                return None
            if any(not isinstance(each, Absent) for each in update.when):
                return None
            # An expired item still lies there: the update makes a new one in its place.
            fresh = changed(None, update)
            if await self.put(Put(update.key, fresh, update.expires_at, when=(Absent(),))):
                return fresh
        raise StorageUnavailable("an expired item could not be replaced: other writers were faster each time")

    async def _update(self, update: Update, now: datetime) -> Attributes:
        """Return the stored item as it is after the update.

        Raises:
            ConditionFailed: it is certain that the update was not done.
        """
        stamp = self._random_bytes(_STAMP_BYTES)
        key_attributes(update.key)  # refuses a key that cannot be
        request = self._dynamodb.arguments(
            self._table,
            update.key,
            actions=actions(update, stamp),
            condition=update_conditions(update.when, now),
            return_values="ALL_NEW",
            return_values_on_condition_failure=_OLD_ITEM,
        )
        try:
            answer = await self._dynamodb.call("UpdateItem", request, repeatable=not update.add)
        except ConditionFailed as failed:
            if not _was_done(failed, stamp):
                raise
            return failed.item or {}
        except Doubtful as doubtful:
            found = await self._stored(update.key)
            if found is None or not _has_stamp(found, stamp):
                raise unavailable("UpdateItem", doubtful.cause) from doubtful.cause
            return found
        except ValueError as exc:
            if not update.add:
                raise
            raise ValueError(f"cannot add to {', '.join(update.add)}, or the item is too large: {exc}") from exc
        after: Attributes = answer["Attributes"]
        return after

    async def delete(self, delete: Delete) -> bool:
        """Remove one item; False if a condition did not hold."""
        if delete.when:
            return await self.atomically([delete])
        if is_possible(delete.key):
            await self._dynamodb.call("DeleteItem", self._dynamodb.arguments(self._table, delete.key))
        return True

    # --- Writing several

    async def put_many(self, puts: Sequence[Put]) -> None:
        """Store items without conditions, 25 in one call."""
        if any(put.when for put in puts):
            raise ValueError("put_many takes no conditions")
        # DynamoDB refuses a key twice in one call; the last one wins, as if one came after the other.
        last = {put.key: item_attributes(put.key, put.item, put.expires_at) for put in puts}
        await batches.write(self._dynamodb, self._table, last.values())

    async def atomically(self, writes: Sequence[Write]) -> bool:
        """Do all writes or none; False if any condition did not hold."""
        check_group(writes)
        for write in writes:
            if isinstance(write, Update):
                check_update(write)
        if not writes:
            return True
        return await transact(self._dynamodb, self._table, writes, clock=self._clock, random_bytes=self._random_bytes)


def _was_done(failed: ConditionFailed, stamp: bytes) -> bool:
    """Say whether a write that met a failed condition had been carried out by an earlier try of ours.

    Raises:
        StorageUnavailable: it may have been, and the item no longer says.
    """
    if not failed.doubtful:
        return False
    if failed.item is not None and _has_stamp(failed.item, stamp):
        return True
    raise StorageUnavailable(
        "a write got no answer and another one followed it: its outcome is unknown"
    ) from failed.cause


def _has_stamp(attributes: Attributes, stamp: bytes) -> bool:
    return attributes.get(STAMP, {}).get("B") == stamp
