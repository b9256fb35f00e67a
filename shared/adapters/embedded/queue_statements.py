"""The SQL of ``SQLiteQueue``; a test shows by EXPLAIN QUERY PLAN that none of it scans.

``INDEXED BY`` makes a statement fail rather than fall back to a scan when an
index is missing (https://www.sqlite.org/lang_indexedby.html).
"""

SEND = "INSERT INTO messages(queue, grp, body, ready, visible_at, sent_at, receives) VALUES (?, ?, ?, ?, ?, ?, 0)"

NEXT_DUE = (
    "SELECT EXISTS(SELECT 1 FROM messages INDEXED BY messages_ready WHERE queue = ? AND ready = 1),"
    " (SELECT visible_at FROM messages INDEXED BY messages_waiting WHERE queue = ? AND ready = 0"
    " ORDER BY visible_at LIMIT 1)"
)

PROMOTE = (
    "UPDATE messages SET ready = 1, queue = CASE WHEN receives >= ? THEN ? ELSE queue END"
    " WHERE id IN (SELECT id FROM messages INDEXED BY messages_waiting"
    " WHERE queue = ? AND ready = 0 AND visible_at <= ? ORDER BY visible_at LIMIT ?)"
)

# Each turn of the recursion is one jump in the index to the next group that has messages.
_GROUPS = (
    "WITH RECURSIVE turn(grp, number) AS ("
    " SELECT (SELECT grp FROM messages INDEXED BY messages_ready"
    " WHERE queue = :queue AND ready = 1 AND {first} ORDER BY grp LIMIT 1), 1"
    " UNION ALL"
    " SELECT (SELECT m.grp FROM messages AS m INDEXED BY messages_ready"
    " WHERE m.queue = :queue AND m.ready = 1 AND m.grp > turn.grp{end} ORDER BY m.grp LIMIT 1), turn.number + 1"
    " FROM turn WHERE turn.grp IS NOT NULL AND turn.number < :limit)"
    " SELECT grp FROM turn WHERE grp IS NOT NULL"
)
GROUPS_AFTER = _GROUPS.format(first="grp > :last", end="")
GROUPS_UP_TO = _GROUPS.format(first="grp <= :last", end=" AND m.grp <= :last")

OF_GROUP = (
    "SELECT id FROM messages INDEXED BY messages_ready WHERE queue = ? AND ready = 1 AND grp = ? ORDER BY id LIMIT ?"
)

TAKE = (
    "UPDATE messages SET ready = 0, visible_at = ?, receives = receives + 1"
    " WHERE id IN (SELECT value FROM json_each(?)) RETURNING id, body, receives, sent_at"
)

_RECEIPT = " WHERE queue = ? AND id = ? AND receives = ?"

# SQS refuses to change the visibility of a message that is not in flight; here it is ignored.
EXTEND = "UPDATE messages SET visible_at = ?" + _RECEIPT + " AND +ready = 0 AND visible_at > ?"

RETURN = (
    "UPDATE messages SET ready = 1, queue = CASE WHEN receives >= ? THEN ? ELSE queue END, visible_at = ?"
    + _RECEIPT
    + " AND +ready = 0 AND visible_at > ?"
)

DELETE = "DELETE FROM messages" + _RECEIPT

_MOST_COUNTED = 100_000
_READY = (
    "(SELECT count(*) FROM (SELECT 1 FROM messages INDEXED BY messages_ready"
    " WHERE queue = {queue} AND ready = 1 LIMIT {most}))"
)
DEPTH = (
    "SELECT "
    + _READY.format(queue=":queue", most=_MOST_COUNTED)
    + ", "
    + _READY.format(queue=":dead", most=_MOST_COUNTED)
    + ", count(*) FILTER (WHERE visible_at <= :now)"
    ", count(*) FILTER (WHERE visible_at > :now AND receives = 0)"
    ", count(*) FILTER (WHERE visible_at > :now AND receives > 0)"
    " FROM (SELECT visible_at, receives FROM messages INDEXED BY messages_waiting"
    f" WHERE queue = :queue AND ready = 0 LIMIT {_MOST_COUNTED})"
)

_DEAD = " FROM messages INDEXED BY messages_ready WHERE queue = ? AND ready = 1 ORDER BY grp, id LIMIT ?"
DEAD = "SELECT id, body, receives, sent_at" + _DEAD
DEAD_ROWS = "SELECT id, grp, body, sent_at" + _DEAD
FORGET = "DELETE FROM messages WHERE id = ?"
