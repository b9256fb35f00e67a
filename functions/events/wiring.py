"""Builds what the events function needs, once for each process."""

import functools
import os
from dataclasses import dataclass

from shared.flow.follow import Following
from shared.flow.hand_on import HandingOn
from shared.flow.record import Recording
from shared.flow.suppress import Suppressing
from shared.ports import Clock, Records
from shared.settings import Settings
from shared.store.busy_servers import BusyServers
from shared.store.directory import Directory
from shared.store.endpoints import Endpoints
from shared.store.event_flushes import Flushes
from shared.store.events import Events
from shared.store.messages import Messages


@dataclass(frozen=True, slots=True)
class Services:
    """What recording needs, and those to whom new events are handed on: webhooks and suppression lists."""

    recording: Recording
    handing_on: HandingOn
    following: Following
    clock: Clock
    records: Records


@functools.cache
def services() -> Services:
    """Return what the function needs, on the configured backend."""
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import open_stores
    from shared.adapters.randomness import PooledRandom

    stores = open_stores(settings, caller="events")
    records, directory = stores.records, Directory(stores.records, clock=utc_now)
    flushes = Flushes(records, clock=utc_now, rng=PooledRandom(), kept=settings.event_retention)
    # Only DynamoDB's partitions have a limit to stay below.
    busy = BusyServers(records) if settings.backend == "aws" else None
    return Services(
        Recording(flushes, Events(records), directory, busy),
        HandingOn(Endpoints(records), directory, Messages(records), stores.webhooks),
        Following(Suppressing.over(stores, settings), directory, Messages(records)),
        utc_now,
        records,
    )
