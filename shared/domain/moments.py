"""Moments as stored: whole milliseconds since 1970, in UTC; 0 stands for none."""

from datetime import UTC, datetime, timedelta

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Return an aware moment in milliseconds."""
    return (moment - _UNIX) // _MS


def from_ms(milliseconds: int) -> datetime:
    """Return the moment in UTC."""
    return _UNIX + milliseconds * _MS


def to_ms_or_zero(moment: datetime | None) -> int:
    """Return the moment in milliseconds, 0 for none."""
    return 0 if moment is None else to_ms(moment)


def from_ms_or_none(milliseconds: int) -> datetime | None:
    """Return the moment, or None for 0."""
    return from_ms(milliseconds) if milliseconds else None
