"""Lanes: what one process knows of each endpoint, so that a dead one takes nothing from the others.

| lane | lets in |
| --- | --- |
| quick: answers within ``QUICK`` | ``MOST_INSIDE`` parcels; others wait for ``patience_s``, then are put off |
| known to be slow | ``FEW_INSIDE`` parcels; others are put off at once, at no cost of an attempt |
| paused (the breaker is open) | none: the attempt counts as failed, unsent |
| pause is over | one parcel, whose first notice decides whether it opens again |

The pause is also noted in the endpoint's record, from which other processes learn it.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain.endpoint import Endpoint
from shared.domain.webhook_retry import TRIPS_AFTER, pause_after

AT_ONCE = 8
"""Requests to one endpoint at once, from one process."""

MOST_INSIDE = 8
FEW_INSIDE = 2
QUICK = timedelta(seconds=1)
PATIENCE_S = 0.5
MAX_LANES = 10_000


@dataclass(slots=True)
class Lane:
    """One endpoint, as this process sees it."""

    requests: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    failures: int = 0
    """In a row."""

    quick: bool = True
    """Until it shows otherwise."""

    paused_until: datetime | None = None
    pauses: int = 0

    def paused(self, now: datetime) -> bool:
        """Whether nothing may be sent now."""
        return self.paused_until is not None and now < self.paused_until

    @property
    def on_trial(self) -> bool:
        """Whether the last thing known of it is that it failed again and again."""
        return self.pauses > 0

    @property
    def full(self) -> bool:
        """Whether no further parcel is let in."""
        most = 1 if self.on_trial else MOST_INSIDE if self.quick else FEW_INSIDE
        return self.inside >= most

    async def enter(self, patience_s: float) -> bool:
        """Go inside; False if there was no room.  Whoever got True leaves again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self.full and self.quick:
                    self.freed.clear()
                    await self.freed.wait()
        if self.full:
            return False
        self.inside += 1
        return True

    def leave(self) -> None:
        """Make room for the next parcel."""
        self.inside -= 1
        self.freed.set()

    def succeeded(self, took: timedelta) -> None:
        """Note an answer that counts."""
        self.failures, self.pauses, self.paused_until = 0, 0, None
        self.quick = took <= QUICK

    def failed(self, now: datetime, time_factor: float) -> None:
        """Note a failure; after several in a row, or the first on trial, the breaker opens."""
        self.failures += 1
        self.quick = False
        if not self.paused(now) and (self.on_trial or self.failures >= TRIPS_AFTER):
            self.pauses += 1
            self.paused_until = now + pause_after(self.pauses) / time_factor

    def wait_until(self, moment: datetime) -> None:
        """Send nothing before the moment that the endpoint asked for."""
        if self.paused_until is None or moment > self.paused_until:
            self.paused_until = moment


class Lanes:
    """The lanes of one process."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        """Know nothing yet.

        Args:
            patience_s: how long a parcel waits for room in a quick lane.
        """
        self.patience_s = patience_s
        self._lanes: dict[int | str, Lane] = {}

    def of(self, endpoint: Endpoint) -> Lane:
        """Return the endpoint's lane, with what others have noted of it."""
        lane = self.named(endpoint.id)
        noted = endpoint.paused_until
        if noted is not None and (lane.paused_until is None or noted > lane.paused_until):
            lane.paused_until, lane.pauses = noted, endpoint.pauses
        if noted is None and not lane.inside and endpoint.failing_since is None:
            # It works elsewhere, or was enabled anew.
            lane.paused_until, lane.pauses = None, 0
        return lane

    def named(self, name: int | str) -> Lane:
        """Return the lane of that name, of which only this process knows anything."""
        lane = self._lanes.get(name)
        if lane is None:
            self._make_room()
            lane = self._lanes[name] = Lane()
        return lane

    def _make_room(self) -> None:
        if len(self._lanes) >= MAX_LANES:
            idle = [name for name, lane in self._lanes.items() if not lane.inside]
            for name in idle[: MAX_LANES // 10]:
                del self._lanes[name]
