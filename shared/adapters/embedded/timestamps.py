"""Moments as the database keeps them: whole milliseconds since 1970, UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Return the moment as milliseconds since 1970; the moment must be aware."""
    if moment.tzinfo is None:
        raise ValueError("a moment without time zone cannot be stored")
    return round(moment.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
