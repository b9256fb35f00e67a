"""Builds what the every-minute function needs, once for each process."""

import functools
import os
from dataclasses import dataclass

from shared.flow.due import Scheduling
from shared.flow.grow import Growing
from shared.flow.settle import Settling
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
    return EveryMinute(Scheduling(settling, Directory(stores.records, clock=utc_now)), growing)
