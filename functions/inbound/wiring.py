"""Builds what the inbound function needs, once for each process."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

from functions.loop import Loop
from shared.flow.forward import Forwarding
from shared.flow.inbound_request import InboundRequests
from shared.flow.lanes import Lanes
from shared.flow.settle import Settling
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.postal_key import PostalKey
from shared.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Services:
    """What forwarding needs, and the loop that it runs in."""

    forwarding: Forwarding
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

    stores = open_stores(settings, caller="inbound")
    http = AiohttpOut(DNSResolver(settings.dns_servers), allowed=settings.allow_networks.http)
    forwarding = Forwarding(
        settling=Settling(stores, Messages(stores.records), Schedule(stores.records), settings, PooledRandom()),
        directory=Directory(stores.records, clock=utc_now),
        requests=InboundRequests(http, stores.keyring, PostalKey(stores.records, stores.keyring)),
        lanes=Lanes(),
        clock=utc_now,
    )
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    # Standalone has it; Lambda waits for networks more than it computes.
    with contextlib.suppress(ImportError):
        import uvloop

        make_loop = uvloop.new_event_loop
    return Services(forwarding, Loop(make_loop, "inbound"))
