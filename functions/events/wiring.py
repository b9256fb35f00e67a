"""Builds what the events function needs, once for each process."""

import functools
import os

from shared.flow.record import Recording
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.event_flushes import Flushes


@functools.cache
def services() -> Recording:
    """Return what recording needs, on the configured backend."""
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import open_stores
    from shared.adapters.randomness import PooledRandom

    records = open_stores(settings, caller="events").records
    flushes = Flushes(records, clock=utc_now, rng=PooledRandom(), kept=settings.event_retention)
    return Recording(flushes, Directory(records, clock=utc_now))
