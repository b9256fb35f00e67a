"""Hits on their way to the events queue: answered first, written soon after, kept while the storage is away."""

import asyncio
import logging
from collections import deque

from functions.edge.hits import Hit
from shared.domain.errors import StorageUnavailable
from shared.ports import Outgoing, Queue
from shared.telemetry import Meter

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Hits in memory; further ones are counted as dropped."""

BATCH = 100
PAUSE_S = 1.0
"""Before a batch that the storage did not take is tried again."""


class HitQueue:
    """Writes hits in the background."""

    def __init__(self, queue: Queue, meter: Meter) -> None:
        self._queue = queue
        self._meter = meter
        self._waiting: deque[Hit] = deque()
        self._writing: asyncio.Task[None] | None = None

    def add(self, hit: Hit) -> None:
        """Have a hit written soon; lost if the process is killed before, or if very many are waiting."""
        if len(self._waiting) >= MOST_WAITING:
            self._meter.count("edgepost_tracking_hits_total", result="dropped")
            return
        self._waiting.append(hit)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def write(self, hit: Hit) -> None:
        """Write a hit now.

        Raises:
            StorageUnavailable: it is not known to be written.
        """
        await self._queue.send([_outgoing(hit)])
        self._meter.count("edgepost_tracking_hits_total", result="recorded")

    async def finish(self, limit_s: float) -> None:
        """Wait until everything is written, for a limited time."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=limit_s)
            self._writing.cancel()

    async def _write(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._queue.send([_outgoing(hit) for hit in some])
            except StorageUnavailable:
                log.warning("hits_waiting", exc_info=True)
                # Twice in the queue is one event: its id is the same.
                self._waiting.extendleft(reversed(some))
                await asyncio.sleep(PAUSE_S)
            else:
                self._meter.count("edgepost_tracking_hits_total", len(some), result="recorded")


def _outgoing(hit: Hit) -> Outgoing:
    return Outgoing(hit.body, group=str(hit.server_id))
