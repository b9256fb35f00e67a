"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Call it for the time; ``advance`` is the only thing that changes it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        """Start at noon of a Thursday unless told otherwise."""
        self.now = start

    def __call__(self) -> datetime:
        """Return the present moment of the test."""
        return self.now

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        self.now += span
