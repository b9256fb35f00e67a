"""Bodies in a dictionary, for tests of what stands above the port."""

from collections.abc import Callable
from datetime import datetime


class FakeBodies:
    """``Bodies`` in memory."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Start empty; the clock decides what has expired."""
        self._clock = clock
        self._kept: dict[str, tuple[bytes, datetime]] = {}

    async def put(self, key: str, raw: bytes, *, expires_at: datetime) -> None:
        """Store the bytes."""
        self._kept[key] = (bytes(raw), expires_at)

    async def get(self, key: str) -> bytes | None:
        """Return exactly the bytes that were put, or None if gone or expired."""
        raw, expires_at = self._kept.get(key, (None, None))
        return None if expires_at is None or expires_at <= self._clock() else raw

    async def delete(self, key: str) -> None:
        """Remove the bytes."""
        self._kept.pop(key, None)

    def __len__(self) -> int:
        """Return how many bodies are kept."""
        return len(self._kept)
