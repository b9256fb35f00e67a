"""Builds what the events function needs, once for each process."""

import functools
import os

from shared.settings import Settings
from shared.store.events import Events


@functools.cache
def services() -> Events:
    """Return the event log on the configured backend."""
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.opening import open_stores

    return Events(open_stores(settings, caller="events").records)
