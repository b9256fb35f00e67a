"""Builds what the webhooks function needs, once for each process."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

from functions.loop import Loop
from shared.flow.lanes import Lanes
from shared.flow.notify import Notifying
from shared.flow.webhook_request import Requests
from shared.settings import Settings
from shared.store.endpoints import Endpoints
from shared.store.parcels import Parcels
from shared.store.postal_key import PostalKey
from shared.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Services:
    """What notifying needs, and the loop that it runs in."""

    notifying: Notifying
    loop: Loop


@functools.cache
def services() -> Services:
    """Return the stage's needs on the configured backend."""
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.clock import utc_now
    from shared.adapters.dns import DNSResolver
    from shared.adapters.http_out import AiohttpOut
    from shared.adapters.opening import open_stores
    from shared.adapters.randomness import PooledRandom

    stores = open_stores(settings, caller="webhooks")
    http = AiohttpOut(DNSResolver(settings.dns_servers), allowed=settings.allow_networks.http)
    notifying = Notifying(
        endpoints=Endpoints(stores.records),
        parcels=Parcels(stores.records),
        schedule=Schedule(stores.records),
        webhooks=stores.webhooks,
        events=stores.events,
        requests=Requests(http, stores.keyring, PostalKey(stores.records, stores.keyring)),
        lanes=Lanes(),
        settings=settings,
        clock=utc_now,
        rng=PooledRandom(),
    )
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    # Standalone has it; Lambda waits for networks more than it computes.
    with contextlib.suppress(ImportError):
        import uvloop

        make_loop = uvloop.new_event_loop
    return Services(notifying, Loop(make_loop, "webhooks"))
