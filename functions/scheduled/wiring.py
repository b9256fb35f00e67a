"""Builds what the every-minute function needs, once for each process."""

import functools
import os
from dataclasses import dataclass

from shared.flow.check_domain import Checking
from shared.flow.due import Scheduling
from shared.flow.due_checks import DueChecks
from shared.flow.grow import Growing
from shared.flow.settle import Settling
from shared.network import Resolver
from shared.ports import Records
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class EveryMinute:
    """What the stages of every minute need."""

    due: Scheduling
    growing: Growing | None
    """None where partitions have no limit that a server could near."""

    records: Records


@functools.cache
def services() -> EveryMinute:
    """Return what the stages need on the configured backend."""
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import open_stores
    from shared.adapters.randomness import PooledRandom

    stores = open_stores(settings, caller="scheduled")
    settling = Settling(
        stores=stores,
        messages=Messages(stores.records),
        schedule=Schedule(stores.records),
        settings=settings,
        rng=PooledRandom(),
    )
    growing = Growing.over(stores.records) if settings.backend == "aws" else None
    checking = Checking(stores.records, stores.events, settings)

    def new_resolver() -> Resolver:
        # At the first domain that is due: most runs need no DNS, and no cold start waits for dnspython.
        from shared.adapters.dns import DNSResolver

        return DNSResolver(settings.dns_servers)

    directory = Directory(stores.records, clock=utc_now)
    return EveryMinute(Scheduling(settling, directory, DueChecks(checking, new_resolver)), growing, stores.records)
