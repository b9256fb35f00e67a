"""Atomic groups as DynamoDB transactions.

A transaction carries a token: sent again within ten minutes it is not done again, so a lost
reply is no matter.  Transactions that meet on an item cancel one another, which is no answer
to the caller: they are tried again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, assert_never

from shared.adapters.aws.attributes import is_expired, item_attributes, key_attributes
from shared.adapters.aws.calls import Cancelled, Reason, unavailable
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.expressions import actions, conditions, update_conditions
from shared.adapters.record_rules import changed
from shared.ports import Absent, Delete, Put, Update, Write

_TOKEN_BYTES = 16
_ROUNDS = 2
"""How often all pauses between tries are used up before a conflict counts as permanent."""


async def transact(
    dynamodb: DynamoDB,
    table: str,
    writes: Sequence[Write],
    *,
    clock: Callable[[], datetime],
    random_bytes: Callable[[int], bytes],
) -> bool:
    """Do all writes or none; False if any condition did not hold.

    Raises:
        StorageUnavailable: it is not known to have been done, or others were at the same items each time.
        ValueError: DynamoDB says that a write is wrong.
    """
    group = _Group(table, writes, random_bytes)
    now = clock()
    request = group.request(dynamodb, now)
    for pause in (*dynamodb.calls.pauses_s * _ROUNDS, None):
        try:
            await dynamodb.call("TransactWriteItems", request)
            return True
        except Cancelled as cancelled:
            reasons = cancelled.reasons
            if wrong := [each for each in reasons if each and each.code == "ValidationError"]:
                raise ValueError(f"DynamoDB refuses a write of a group: {wrong[0].message}") from cancelled.cause
            if group.must_give_up(reasons, now):
                return False
            if pause is None:
                raise unavailable("TransactWriteItems", cancelled.cause) from cancelled.cause
        if group.is_changed:
            # Another request, so another token.
            now = clock()
            request = group.request(dynamodb, now)
        await dynamodb.calls.rest(pause)
    raise AssertionError("the last try returns or raises")


class _Group:
    """The writes of a transaction; those that an expired item is in the way of become puts."""

    def __init__(self, table: str, writes: Sequence[Write], random_bytes: Callable[[int], bytes]) -> None:
        self._table = table
        self._writes = writes
        self._random_bytes = random_bytes
        self._anew: set[int] = set()
        self.is_changed = False

    # Any: requests are the JSON of DynamoDB's API reference.

    def request(self, dynamodb: DynamoDB, now: datetime) -> dict[str, Any]:
        """Return the transaction, with a token of its own."""
        self.is_changed = False
        parts = [self._part(dynamodb, number, write, now) for number, write in enumerate(self._writes)]
        return {"TransactItems": parts, "ClientRequestToken": self._random_bytes(_TOKEN_BYTES).hex()}

    def must_give_up(self, reasons: Sequence[Reason | None], now: datetime) -> bool:
        """Say whether a condition did not hold; take notice of expired items that are only in the way."""
        for number, (write, reason) in enumerate(zip(self._writes, reasons, strict=False)):
            if reason is None or reason.code != "ConditionalCheckFailed":
                continue
            if number in self._anew:
                # Another writer replaced the expired item first: now there is one to update.
                self._anew.discard(number)
            elif isinstance(write, Update) and _only_in_the_way(write, reason, now):
                self._anew.add(number)
            else:
                return True
            self.is_changed = True
        return False

    def _part(self, dynamodb: DynamoDB, number: int, write: Write, now: datetime) -> dict[str, Any]:
        if isinstance(write, Update) and number in self._anew:
            write = Put(write.key, changed(None, write), write.expires_at, when=(Absent(),))
        key_attributes(write.key)  # refuses a key that cannot be
        parts: dict[str, Any]
        match write:
            case Put():
                kind = "Put"
                parts = {
                    "key": "Item",
                    "attributes": item_attributes(write.key, write.item, write.expires_at),
                    "condition": conditions(write.when, now),
                }
            case Update():
                kind = "Update"
                changes = actions(write, None) or actions(write, self._random_bytes(_TOKEN_BYTES))
                parts = {"actions": changes, "condition": update_conditions(write.when, now)}
            case Delete():
                kind = "Delete"
                parts = {"condition": conditions(write.when, now)}
            case _:
                assert_never(write)
        return {kind: dynamodb.arguments(self._table, write.key, return_values_on_condition_failure="ALL_OLD", **parts)}


def _only_in_the_way(update: Update, reason: Reason, now: datetime) -> bool:
    return (
        reason.item is not None
        and is_expired(reason.item, now)
        and all(isinstance(each, Absent) for each in update.when)
    )
