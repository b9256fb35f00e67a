"""Whether the HTTP part can do its work: read and write the store, and take requests."""

import asyncio
import logging
import time
from collections.abc import Callable

from shared.domain.errors import StorageUnavailable
from shared.ports import Clock, Put, Records
from shared.store.keys import health_key

log = logging.getLogger(__name__)

PROBE_KEY = health_key("standalone")
GOOD_FOR_S = 2.0
BAD_FOR_S = 0.5
"""How long one probe's answer stands in for the next ones: pollers must not load the store."""

PROBE_LIMIT_S = 5.0


class Health:
    """Answers ``/health`` and ``/readyz``."""

    def __init__(self, records: Records, *, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._records = records
        self._clock = clock
        self._monotonic = monotonic
        self._probing = asyncio.Lock()
        self._healthy = False
        self._valid_until = float("-inf")
        self._draining = False
        self.is_watched = False
        """Whether anybody has asked for readiness: only then is it worth waiting for them to see its end."""

    async def is_healthy(self) -> bool:
        """Whether the store took a small write and gave it back, within the last seconds."""
        async with self._probing:
            if self._monotonic() >= self._valid_until:
                self._healthy = await self._probe()
                self._valid_until = self._monotonic() + (GOOD_FOR_S if self._healthy else BAD_FOR_S)
            return self._healthy

    def is_ready(self) -> bool:
        """Whether new requests are welcome: not any more once draining began."""
        self.is_watched = True
        return not self._draining

    def drain(self) -> None:
        """Send new requests elsewhere from now on."""
        self._draining = True

    async def _probe(self) -> bool:
        written = int(self._clock().timestamp())
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                await self._records.put(Put(PROBE_KEY, {"at": written}))
                item = await self._records.get(PROBE_KEY)
        except (StorageUnavailable, TimeoutError):
            log.exception("health_probe_failed")
            return False
        # Another process on the same store may have written since.
        return item is not None and isinstance(item["at"], int) and item["at"] >= written
