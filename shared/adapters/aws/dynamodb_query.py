"""A stretch of one partition as a DynamoDB query, page by page.

A key condition takes one comparison of the sort key, and ``BETWEEN`` includes both ends, so
what the ports leave out is dropped here.  A cursor is the sort key of the last item seen: it
narrows the stretch, so one that was made up can show nothing outside of it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.operand import Path, Value

from shared.adapters.aws.attributes import PARTITION, SORT, SORT_BYTES, is_expired, item_of, key_of
from shared.ports import Page


class Range:
    """``at_least <= sort < below``, and beyond the cursor, in either order."""

    def __init__(self, at_least: str, below: str | None, *, newest_first: bool, cursor: str | None) -> None:
        # Python compares texts by code point, which is the order of their UTF-8 bytes.
        self._first = max(at_least, cursor) if cursor is not None and not newest_first else at_least
        self._after = cursor if not newest_first else None
        self._end = below
        if cursor is not None and newest_first:
            self._end = cursor if below is None else min(below, cursor)
        self._newest_first = newest_first

    @property
    def is_empty(self) -> bool:
        """Whether nothing can lie in it; DynamoDB refuses such bounds."""
        return self._end is not None and self._end <= self._first

    def request(self, table: str, partition: str, limit: int) -> dict[str, Any]:
        """Return the query for a page: one item more than wanted tells whether another page follows."""
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        condition = Path([PARTITION]) == Value({"S": partition})
        if (within := self._within()) is not None:
            condition &= within
        expression = condition.serialize(names, values)
        # The end that is read first may be one that is dropped.
        dropped = self._end is not None if self._newest_first else self._after is not None
        return {
            "TableName": table,
            "KeyConditionExpression": expression,
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in names.items()},
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
            "ScanIndexForward": not self._newest_first,
            "Limit": limit + 1 + int(dropped),
        }

    def page(self, answer: Mapping[str, Any], limit: int, now: datetime) -> Page:
        """Return what of the answer belongs to the page, and where the next one starts."""
        rows = [row for row in answer["Items"] if self._holds(row[SORT]["S"])]
        shown = rows[:limit]
        cursor: str | None = None
        if len(rows) > limit:
            cursor = shown[-1][SORT]["S"]
        elif last := answer.get("LastEvaluatedKey"):
            # An answer has at most 1 MB: there may be more, but not beyond the end.
            cursor = last[SORT]["S"]
            if self._end is not None and cursor >= self._end and not self._newest_first:
                cursor = None
        return Page([(key_of(row), item_of(row)) for row in shown if not is_expired(row, now)], cursor)

    def _within(self) -> Condition | None:
        sort, first = Path([SORT]), _bounded(self._first)
        end = None if self._end is None else _bounded(self._end)
        if first and end:
            return sort.between(_text(first), _text(end))
        if end:
            return sort < _text(end)
        return sort >= _text(first) if first else None

    def _holds(self, sort: str) -> bool:
        beyond = self._after is None or sort > self._after
        return beyond and sort >= self._first and (self._end is None or sort < self._end)


def _bounded(sort: str) -> str:
    """Return as much of a bound as a key can have; what that lets in or leaves at the end is dropped."""
    return sort.encode()[:SORT_BYTES].decode(errors="ignore")


def _text(value: str) -> Value:
    return Value({"S": value})
