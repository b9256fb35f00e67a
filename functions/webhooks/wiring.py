"""Builds what the webhooks function needs, once for each process."""

import functools
from dataclasses import dataclass

from functions.outward.wiring import Outward, open_outward
from shared.flow.notify import Notifying
from shared.flow.webhook_request import Requests
from shared.store.endpoints import Endpoints
from shared.store.parcels import Parcels
from shared.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Services:
    """What notifying needs, and what it runs in."""

    notifying: Notifying
    outward: Outward


@functools.cache
def services() -> Services:
    """Return the stage's needs on the configured backend."""
    opened = open_outward("webhooks")
    stores = opened.stores
    notifying = Notifying(
        endpoints=Endpoints(stores.records),
        parcels=Parcels(stores.records),
        schedule=Schedule(stores.records),
        webhooks=stores.webhooks,
        events=stores.events,
        requests=Requests(opened.http, stores.keyring, opened.postal_key),
        lanes=opened.lanes,
        settings=opened.settings,
        clock=opened.clock,
        rng=opened.rng,
    )
    return Services(notifying, opened)
