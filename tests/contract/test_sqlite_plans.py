"""No statement of the SQLite adapters may read a whole table or index.

EXPLAIN QUERY PLAN says SCAN where it does and USE TEMP B-TREE where it sorts
(https://www.sqlite.org/eqp.html); both grow with the number of rows.
"""

import re

import pytest

from shared.adapters.embedded import queue_statements, sqlite_bodies, sqlite_records
from shared.adapters.embedded.store import SQLiteStore

# Each of these scans something small: the recursion's own rows, a list of at
# most ten ids, the bounded subqueries that DEPTH counts, or no table at all.
HARMLESS_SCANS = re.compile(r"SCAN (turn|json_each VIRTUAL TABLE.*|\(subquery-\d+\)|CONSTANT ROW|\d+ CONSTANT ROWS?)")

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": statement
    for module in (queue_statements, sqlite_bodies, sqlite_records)
    for name, statement in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(statement, str)
}


def plan(store: SQLiteStore, statement: str) -> list[str]:
    """Return the lines of the query plan."""
    names = re.findall(r":(\w+)", statement)
    parameters = dict.fromkeys(names, 1) if names else (1,) * statement.count("?")
    rows = store.read(lambda connection: connection.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall())
    return [row[3] for row in rows]


class TestQueryPlans:
    @pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
    def test_no_statement_scans_or_sorts(self, store: SQLiteStore, statement: str) -> None:
        """With a million messages waiting, each call must cost what it cost with ten."""
        lines = plan(store, statement)

        costly = [line for line in lines if re.match(r"SCAN|USE TEMP B-TREE", line)]
        assert [line for line in costly if not HARMLESS_SCANS.fullmatch(line)] == []

    def test_the_check_sees_a_scan(self, store: SQLiteStore) -> None:
        """A guard that cannot fail guards nothing."""
        assert plan(store, "SELECT body FROM messages WHERE body = ?") == ["SCAN messages"]

    def test_all_statements_are_looked_at(self) -> None:
        """The collection must not become empty by a renaming."""
        assert {"queue_statements.TAKE", "sqlite_bodies.GET", "sqlite_records.PRUNE"} <= set(STATEMENTS)
