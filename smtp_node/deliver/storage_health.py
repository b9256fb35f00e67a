"""Whether the storage is well enough to take more work from the queue.

Queue and records fail apart: with records away and a queue that goes on, a node
would receive job after job, claim none, and receive each again and again until
it is a dead letter.  So it stops taking:

====================================  ==================================================
what happens                          what the node does
====================================  ==================================================
a job fails for want of storage       counts it; others go on
``UNWELL_AFTER`` in a row             takes nothing more; what is in hand goes on
while it takes nothing                writes and reads one small item, at growing
                                      intervals of at most ``PROBE_PAUSES_S[-1]``
the probe succeeds                    takes again at once
the next jobs fail all the same       takes nothing again; the intervals go on growing
a job finds the storage well          forgets it all
====================================  ==================================================
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

UNWELL_AFTER = 3
"""Failures in a row: one partition that is throttled must not stop the mail of the others."""

PROBE_PAUSES_S = (0.2, 0.5, 1.0)

Probe = Callable[[], Awaitable[None]]
"""Uses the storage; raises ``Unavailable`` if it cannot be used."""


class StorageHealth:
    """What the jobs of a node have found lately.

    Args:
        sleep: waits for so many seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._failures = 0
        self._probes = 0
        self._probing = asyncio.Lock()

    @property
    def well(self) -> bool:
        """Whether more work may be taken."""
        return self._failures < UNWELL_AFTER

    def worked(self) -> None:
        """Note that a job could use the storage."""
        self._failures = self._probes = 0

    def failed(self) -> None:
        """Note that a job could not."""
        self._failures += 1
        if self._failures == UNWELL_AFTER:
            log.warning("taking_stopped", extra={"failures": self._failures})

    async def until_well(self, probe: Probe) -> None:
        """Wait until more work may be taken; any number may wait, one of them probes."""
        while not self.well:
            async with self._probing:
                if not self.well:
                    await self._probe(probe)

    async def _probe(self, probe: Probe) -> None:
        await self._sleep(PROBE_PAUSES_S[min(self._probes, len(PROBE_PAUSES_S) - 1)])
        self._probes += 1
        try:
            await probe()
        except Unavailable:
            log.warning("storage_unwell", exc_info=True)
        else:
            self._failures = 0
            log.info("taking_resumed")
