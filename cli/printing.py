"""Answers on the terminal: a JSON document for programs, lines and tables for people."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDE = 10_000
"""Columns of a table that no terminal shows."""

Document = Mapping[str, Any]
"""What ``--json`` prints: texts, numbers, yes and no, null, and lists and mappings of these."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command ends with."""

    document: Document
    said: str = ""
    """For people, before the document's own lines; with ``--json`` it is not printed."""

    instead: str = ""
    """For people, in place of the document's own lines."""

    streamed: bool = False
    """It was printed while it was made, because it may be too long to be held."""

    failed: bool = False
    """The command did its work, and the result is bad news: exit status 1."""


def print_answer(answer: Answer, *, as_json: bool) -> None:
    """Print it on standard output."""
    if answer.streamed:
        return
    if as_json:
        print(json.dumps(answer.document, indent=2))
        return
    if answer.said:
        say(answer.said)
    if answer.instead:
        say(answer.instead)
        return
    plain = {name: value for name, value in answer.document.items() if not _is_table(value)}
    width = max((len(name) for name in plain), default=0)
    for name, value in plain.items():
        say(f"{_title(name):{width}}  {_cell(value)}".rstrip())
    for name, value in answer.document.items():
        if _is_table(value):
            _print_table(name, value)


def print_error(code: str, message: str, *, as_json: bool, problems: Sequence[str] = ()) -> None:
    """Print what went wrong: a document on standard output, or lines on standard error."""
    if as_json:
        error: dict[str, Any] = {"code": code, "message": message}
        if problems:
            error["problems"] = list(problems)
        print(json.dumps({"error": error}, indent=2))
        return
    for line in problems or [message]:
        print(f"edgepost: {_printable(line)}", file=sys.stderr)


def say(text: str) -> None:
    """Print lines for people; control characters, which may come from strangers' mail, are shown as ``?``."""
    for line in text.split("\n"):
        print(_printable(line))


def _print_table(name: str, found: Sequence[Document]) -> None:
    # Rich takes a tenth of a second to import, which only tables are worth.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        say(f"no {_title(name)}")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    columns = list(found[0])
    for column in columns:
        # Nothing may be cut off: DNS values and keys are there to be copied, and ids in one piece.
        table.add_column(_title(column), overflow="fold", no_wrap=isinstance(found[0][column], int))
    for row in found:
        table.add_row(*(Text(_printable(_cell(row[column]))) for column in columns))
    # Into a pipe or a file each row is one line, so that grep and the like find whole things.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    Console(soft_wrap=False, width=width).print(table)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{name} {_cell(each)}" for name, each in value.items()) or "-"
        case list():
            return ", ".join(_cell(each) for each in value) or "-"
        case _:
            return str(value) or "-"


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in line)
