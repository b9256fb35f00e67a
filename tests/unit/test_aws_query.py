"""Stretches of a partition as DynamoDB queries, against a partition in memory."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.aws.dynamodb_query import Range

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SORTS = st.text("abc", min_size=1, max_size=2)
LIMIT_OF_AN_ANSWER = 4
"""Items that the partition below gives at once, whatever the limit: as DynamoDB stops at 1 MB."""


def ask(partition: list[str], request: dict[str, Any]) -> dict[str, Any]:
    """Answer a query as DynamoDB does."""
    values = {name: value["S"] for name, value in request["ExpressionAttributeValues"].items()}
    expression: str = request["KeyConditionExpression"]
    low, high = values.get(":1"), values.get(":2")

    def within(sort: str) -> bool:
        if "BETWEEN" in expression:
            assert low is not None
            assert high is not None
            assert low <= high, "ValidationException"
            return low <= sort <= high
        if "<" in expression:
            return sort < str(low)
        return ">=" not in expression or sort >= str(low)

    found = sorted(filter(within, partition), reverse=not request["ScanIndexForward"])
    given_now = found[: min(request["Limit"], LIMIT_OF_AN_ANSWER)]
    answer: dict[str, Any] = {"Items": [{"pk": {"S": "p"}, "sk": {"S": sort}} for sort in given_now]}
    if len(given_now) == request["Limit"] or len(given_now) < len(found):
        answer["LastEvaluatedKey"] = answer["Items"][-1]
    return answer


class TestRange:
    @given(
        st.sets(SORTS, max_size=12),
        st.text("abc", max_size=2),
        st.none() | st.text("abc", max_size=2),
        st.booleans(),
        st.integers(1, 5),
    )
    def test_pages_show_each_item_once(
        self, sorts: set[str], at_least: str, below: str | None, newest_first: bool, limit: int
    ) -> None:
        """Whatever DynamoDB leaves for the next answer, pages join without gap or overlap, and end."""
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(60):
            wanted = Range(at_least, below, newest_first=newest_first, cursor=cursor)
            if wanted.is_empty:
                break
            page = wanted.page(ask(sorted(sorts), wanted.request("t", "p", limit)), limit, NOW)
            assert len(page.items) <= limit
            seen += [key.sort for key, _ in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        else:
            raise AssertionError("it never ends")

        inside = [sort for sort in sorts if sort >= at_least and (below is None or sort < below)]
        assert seen == sorted(inside, reverse=newest_first)

    @given(st.sets(SORTS, max_size=12), st.text("abcd", max_size=3), st.booleans())
    def test_a_made_up_cursor_shows_nothing_outside(self, sorts: set[str], cursor: str, newest_first: bool) -> None:
        """Cursors travel through clients."""
        wanted = Range("b", "c", newest_first=newest_first, cursor=cursor)

        if not wanted.is_empty:
            page = wanted.page(ask(sorted(sorts), wanted.request("t", "p", 5)), 5, NOW)
            assert all("b" <= key.sort < "c" for key, _ in page.items)

    def test_a_bound_longer_than_any_key_is_cut(self) -> None:
        """DynamoDB would refuse it; what it lets in is dropped."""
        request = Range("ü" * 600, None, newest_first=False, cursor=None).request("t", "p", 5)

        assert len(request["ExpressionAttributeValues"][":1"]["S"].encode()) == 1024
