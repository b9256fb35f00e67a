"""Import and export of suppression lists as CSV: streamed, with progress, of any length.

Columns are found by their heading; ``address`` (or ``email``) is needed, all others may
be missing.  A file without a heading is a list of addresses.

| column | meaning |
| --- | --- |
| ``address`` | the address |
| ``stream`` | tag; empty: all mail of the server |
| ``reason`` | as exported; anything else counts as ``import`` |
| ``detail`` | any text |
| ``until`` | ISO 8601; empty: for ever |
| ``added_at`` | ISO 8601; exported, ignored on import |
"""

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from shared.domain.csv_cells import inert, plain
from shared.domain.errors import InvalidValue
from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId, ServerId
from shared.domain.one_line import one_line
from shared.domain.suppression import (
    MAX_DETAIL,
    Change,
    Reason,
    Scope,
    Suppression,
    checked_stream,
    folded,
    new_suppression,
)
from shared.flow.suppress import Suppressing, tell_servers

COLUMNS = ("address", "stream", "reason", "detail", "until", "added_at")
BATCH = 250
"""Rows read, compared and stored together."""

MAX_FIELD = 4000
MAX_PROBLEMS = 20
"""Bad rows that are shown; all are counted."""

Progress = Callable[[int], None]
"""Is told how many rows were done so far."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    added: int
    there: int
    """On the list already: left as they are."""

    bad: int
    problems: Sequence[str]
    """A sentence for each of the first bad rows, by line."""


async def import_suppressions(
    lines: Iterable[str],
    scope: Scope,
    *,
    source: str,
    using: Suppressing,
    now: datetime,
    progress: Progress | None = None,
) -> Imported:
    """Put all addresses of a CSV file on a list; bad rows are left out and counted.

    Two reads and writes for each ``BATCH`` rows, constant memory.  Twice: the second
    time all are there.  One event tells of the whole import.

    Args:
        lines: of the file, at most ``MAX_FIELD`` characters each.
        scope: whose list; a stream's if the file has no column for it.
        source: names this import in histories and in its event.
        using: what changing the lists needs.
        now: when it happens.
        progress: told after each batch.

    Raises:
        InvalidValue: the heading has no address column.
        StorageUnavailable: the rows before are stored; the import may be repeated.
    """
    added = there = 0
    bad: list[str] = []
    count_bad = 0
    done = 0
    rows = _rows(lines)
    try:
        while batch := list(islice(rows, BATCH)):
            wanted: dict[tuple[str, str], Suppression] = {}
            for number, row in batch:
                try:
                    entry = _entry(row, scope, source, now)
                except InvalidValue as exc:
                    count_bad += 1
                    if len(bad) < MAX_PROBLEMS:
                        bad.append(f"line {number}: {exc}")
                    continue
                there += (entry.address, entry.scope.stream) in wanted
                wanted[entry.address, entry.scope.stream] = entry
            stored = await _store(list(wanted.values()), using, now)
            added, there, done = added + stored, there + len(wanted) - stored, done + len(batch)
            if progress:
                progress(done)
    finally:
        # Also if it broke off: repeated, it finds these there and tells nobody.
        if added:
            await _tell(scope, source, added, using, now)
    return Imported(added, there, count_bad, bad)


async def export_suppressions(
    scope: Scope, *, using: Suppressing, now: datetime, limit: int = 500
) -> AsyncIterator[Sequence[Suppression]]:
    """Yield all entries that hold, of the scope's owner with all streams, page by page.

    For the scope of one stream only that stream's.
    """
    cursor: str | None = None
    while True:
        page = await using.suppressions.page(scope, cursor, limit=limit)
        yield [each for each in page.entries if each.holds(now) and scope.stream in ("", each.scope.stream)]
        cursor = page.cursor
        if cursor is None:
            return


def csv_row(entry: Suppression) -> Sequence[str]:
    """Return an entry as a row of an export, in the order of ``COLUMNS``."""
    until = "" if entry.until is None else entry.until.isoformat(timespec="seconds")
    added = entry.added_at.isoformat(timespec="seconds")
    return (*map(inert, (entry.address, entry.scope.stream, entry.reason.value, entry.detail)), until, added)


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row by column), leaving out empty lines."""
    reader = csv.reader(_bounded(lines))
    heading: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not heading:
                names = [cell.strip().lower().lstrip("\ufeff") for cell in row]
                if "@" not in row[0]:
                    heading = ["address" if name in ("email", "e-mail", "recipient") else name for name in names]
                    if "address" not in heading:
                        raise InvalidValue("the first line names no column address or email")
                    continue
                heading = ["address"]
            yield reader.line_num, dict(zip(heading, row, strict=False))
    except csv.Error as exc:
        raise InvalidValue(f"line {reader.line_num} is no CSV: {exc}") from exc


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if len(line) > MAX_FIELD:
            raise InvalidValue(f"a line is longer than {MAX_FIELD} characters")
        yield line.replace("\0", "")


def _entry(row: dict[str, str], scope: Scope, source: str, now: datetime) -> Suppression:
    address = plain(row.get("address", "").lstrip("\ufeff"))
    stream = checked_stream(plain(row.get("stream", ""))) or scope.stream
    if scope.organization and stream:
        raise InvalidValue("a stream belongs to a server, not to an organization")
    given = row.get("reason", "").strip().lower()
    reason = Reason(given) if given in list(Reason) else Reason.IMPORT
    detail = one_line(plain(row.get("detail", "")), MAX_DETAIL)
    change = Change(now, added=True, reason=reason, source=source, detail=detail)
    until = _moment(row.get("until", "").strip())
    return new_suppression(replace(scope, stream=stream), folded(address), change, until=until)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidValue("until is no date and time of ISO 8601") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _store(entries: Sequence[Suppression], using: Suppressing, now: datetime) -> int:
    """Store what is not on the list; an entry that was taken off keeps its history."""
    new: list[Suppression] = []
    for stream in {each.scope.stream for each in entries}:
        some = [each for each in entries if each.scope.stream == stream]
        known = await using.suppressions.get_many(some[0].scope, [each.address for each in some])
        for each in some:
            old = known.get(each.address)
            if old is None:
                new.append(each)
            elif not old.holds(now):
                new.append(old.with_change(each.history[0], until=each.until))
    await using.suppressions.put_many(new)
    return len(new)


async def _tell(scope: Scope, source: str, added: int, using: Suppressing, now: datetime) -> None:
    event = Event(
        kind=EventKind.SUPPRESSION_ADDED,
        server_id=ServerId(scope.owner_id),
        message_id=MessageId(0),
        attempt=0,
        at=now,
        details=f"{added} addresses were put on the suppression list by an import",
        subject=source,
        # In place of an address: an event for each of a million would be a flood.
        data={
            "address": "*",
            "count": added,
            "type": Reason.IMPORT.value,
            "scope": scope.name,
            "stream": scope.stream,
            "source": source,
        },
    )
    await tell_servers(event, scope, using)
