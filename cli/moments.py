"""Moments as people type them: so long ago, or exactly."""

import re
from datetime import UTC, datetime

from shared.domain.errors import InvalidValue
from shared.setting_values import UNITS


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that ``90m``, ``24h``, ``3d``, an RFC 3339 time or a date names; a date begins at midnight UTC.

    Raises:
        InvalidValue: none of these, a time without its zone, or one that no calendar has.
    """
    try:
        return _moment(text.strip(), now)
    except OverflowError as exc:
        raise InvalidValue(f"{text.strip()} is too long ago, or too far away") from exc


def _moment(text: str, now: datetime) -> datetime:
    if found := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return now - int(found[1]) * UNITS[found[2]]
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        exact = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidValue(
            "a moment is so long ago (90m, 24h, 3d), a date, or a time such as 2026-03-01T12:00:00Z"
        ) from exc
    if exact.tzinfo is None:
        raise InvalidValue("a time must say its zone, such as 2026-03-01T12:00:00Z")
    return exact.astimezone(UTC)
