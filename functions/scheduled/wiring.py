"""Builds what the every-minute function needs, once for each process."""

import functools
import os

from shared.flow.due import Scheduling
from shared.flow.settle import Settling
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.schedule import Schedule


@functools.cache
def services() -> Scheduling:
    """Return the stage's needs on the configured backend."""
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
    return Scheduling(settling, Directory(stores.records, clock=utc_now))
