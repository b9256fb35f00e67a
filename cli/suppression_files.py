"""Suppression lists as files: written page by page, read line by line, with a count for whoever waits."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.documents import suppression_row
from shared.domain.errors import InvalidValue
from shared.flow.suppression_files import COLUMNS, csv_row, export_suppressions

if TYPE_CHECKING:
    from typing import TextIO

    from cli.suppression_lists import List


async def write_list(on: "List", file: "TextIO", *, as_json: bool) -> int:
    """Write page by page, so that a million entries need no more memory than one page."""
    table = csv.writer(file, lineterminator="\n")
    progress = Progress("written")
    written = 0
    if as_json:
        file.write('{"suppressions": [')
    else:
        table.writerow(COLUMNS)
    async for page in export_suppressions(on.scope, using=on.using, now=on.now):
        if as_json:
            file.writelines(
                f"{',' if written + at else ''}\n{json.dumps(suppression_row(e))}" for at, e in enumerate(page)
            )
        else:
            table.writerows(csv_row(each) for each in page)
        written += len(page)
        progress(written)
    if as_json:
        file.write("]}\n")
    return written


class Progress:
    """Prints a count on standard error now and then, on a terminal only."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._told = 0

    def __call__(self, done: int) -> None:
        """Note how many were done so far."""
        if done - self._told >= 10_000 and sys.stderr.isatty():
            self._told = done
            print(f"{done} {self._word}", file=sys.stderr)


def readable(file: Path) -> "TextIO":
    """Open a file to read.

    Raises:
        InvalidValue: it cannot be read.
    """
    try:
        return file.open(encoding="utf-8", errors="replace", newline="")
    except OSError as exc:
        raise InvalidValue(f"cannot read {file}: {exc.strerror}") from exc


def writable(file: Path) -> "TextIO":
    """Open a file to write.

    Raises:
        InvalidValue: it cannot be written.
    """
    try:
        return file.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise InvalidValue(f"cannot write {file}: {exc.strerror}") from exc
