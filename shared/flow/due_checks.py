"""The domain checks among what is due: many at once, and none may hold up mail for long.

Other people's name servers decide how long a check takes.  A run has
``BUDGET_S`` for all of them; what is not looked at by then is put off.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.moments import from_ms
from shared.flow.check_domain import Checking, check_domain, tell_if_untold
from shared.flow.check_track_domain import CHECK as CHECK_TRACKING
from shared.flow.check_track_domain import check_track_domain, tell_if_track_untold
from shared.network import Resolver
from shared.store.domains import Domains
from shared.store.schedule import DueEntry
from shared.store.track_domains import TrackDomains

log = logging.getLogger(__name__)

BUDGET_S = 20.0
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class DueChecks:
    """Checks the domains whose time has come."""

    checking: Checking
    new_resolver: Callable[[], Resolver]
    """A new one for each run: it would otherwise answer from an older hour."""

    def begin(self) -> "Run":
        """Begin a run of the every-minute stage; inside of its event loop."""
        return Run(self, asyncio.get_running_loop().time() + BUDGET_S)


class Run:
    """The checks of one run, page after page."""

    def __init__(self, checks: DueChecks, until: float) -> None:
        self._checks = checks
        self._until = until
        self._resolver: Resolver | None = None
        self._few = asyncio.Semaphore(AT_ONCE)

    async def do(self, entries: Sequence[DueEntry], now: datetime) -> Sequence[DueEntry]:
        """Check the domains of these entries; return the entries for which there was no time.

        Raises:
            StorageUnavailable: all of them may be done again.
        """
        if not entries:
            return ()
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            return entries
        self._resolver = self._resolver or self._checks.new_resolver()
        tasks = {asyncio.create_task(self._check(entry.item, self._resolver, now)): entry for entry in entries}
        done, late = await asyncio.wait(tasks, timeout=self._until - loop.time())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            task.result()
        return [tasks[task] for task in late]

    # Any: entries are written by shared.flow.plan_check and check_track_domain only.
    async def _check(self, item: Mapping[str, Any], resolver: Resolver, now: datetime) -> None:
        async with self._few:
            using = self._checks.checking
            if item["do"] == CHECK_TRACKING:
                await self._check_tracking(item, resolver, now)
                return
            domain = await Domains(using.records).find(item["domain"], item["server"], item["organization"])
            if domain is None or domain.verified_at is None:
                return
            if domain.check_due != from_ms(item["due"]):
                await tell_if_untold(domain, using=using)
                return
            await check_domain(domain, resolver=resolver, using=using, now=now)
            log.debug("domain_checked", extra={"server_id": item["server"]})

    async def _check_tracking(self, item: Mapping[str, Any], resolver: Resolver, now: datetime) -> None:
        using = self._checks.checking
        domain = await TrackDomains(using.records).by_host(item["domain"])
        if domain is None or domain.server_id != item["server"] or domain.verified_at is None:
            return
        if domain.check_due != from_ms(item["due"]):
            await tell_if_track_untold(domain, using=using)
            return
        await check_track_domain(domain, resolver=resolver, using=using, now=now)
        log.debug("track_domain_checked", extra={"server_id": item["server"]})
