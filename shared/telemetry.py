"""What a process tells its operator: log lines of JSON, and figures through a ``Meter``.

A line holds when, how severe, what happened (``event``: a constant, past
tense), which module said so, and the fields given as ``extra``::

    {"ts": "2026-01-05T08:00:00.123Z", "level": "info", "event": "message_accepted",
     "logger": "shared.flow.accept", "message_id": 1234, "server_id": 1}
"""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from shared.ports import Value

SECRET_NAMES = ("authorization", "key", "password", "secret", "token")
"""A field so named, or whose name ends in ``_`` or ``-`` and one of these, is never written."""

MAX_TEXT = 8_000
"""Longest text of one field, in characters; a peer decides how long some of them are."""

NOISY_LOGGERS = ("asyncio", "botocore", "httpx", "mail.log", "pynamodb", "urllib3", "uvicorn")
"""These report each request or resolver step at info: a line per state change is ours to write."""

_PLUMBING = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
"""Attributes that every log record has: all others are fields."""


class Meter(Protocol):
    """Takes figures; never fails and never waits, so that it may stand anywhere."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Note how long something took."""
        ...


class NullMeter:
    """A meter that keeps nothing."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Keep nothing."""

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Keep nothing."""


class JSONFormatter(logging.Formatter):
    """Turns a record into one line of JSON without its line end."""

    def __init__(self, **always: str) -> None:
        """Take fields that every line of this process carries, such as its part."""
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; whatever a field holds, this gives a line."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            **self._always,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLUMBING and name not in line}
        if record.exc_info and record.exc_info[1]:
            line["error"] = str(record.exc_info[1])
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(plain(line), ensure_ascii=False, separators=(", ", ": "))


def _event(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # A library's format and arguments do not fit: the format still tells more than nothing.
        return str(record.msg)


def _is_secret(name: str) -> bool:
    return name.lower().replace("-", "_").rpartition("_")[2] in SECRET_NAMES


def plain(value: object) -> Value | float:
    """Return what JSON can hold of a field's value, without secrets, each text bounded."""
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            kept = {str(name): each for name, each in value.items() if not _is_secret(str(name))}
            return {name: plain(each) for name, each in kept.items()}  # type: ignore[misc]  # floats are fine in a log
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]  # type: ignore[misc]  # the same
        case _:
            # Lone surrogates cannot be written as UTF-8.
            text = str(value)[:MAX_TEXT]
            return text.encode("utf-8", "replace").decode()


def configure_logging(level: str, *, handler: logging.Handler | None = None, **always: str) -> None:
    """Send all log lines as JSON to the handler, or to standard error.

    Replaces what was configured before; the last call counts.

    Args:
        level: the least severe level written: debug, info, warning or error.
        handler: where lines go; its formatter is set here.
        always: fields of every line, such as ``part``.
    """
    target = handler or logging.StreamHandler(sys.stderr)
    target.setFormatter(JSONFormatter(**always))
    logging.basicConfig(level=level.upper(), handlers=[target], force=True)
    # Warnings of Python itself become lines too, and nothing else writes beside them.
    logging.captureWarnings(capture=True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
