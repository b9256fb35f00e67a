"""Opens what functions need that call other people's servers: stores, guarded HTTP, a loop that lasts."""

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass

from functions.outward.loop import Loop
from shared.flow.lanes import Lanes
from shared.network import HTTPOut
from shared.ports import Clock, Stores
from shared.settings import Settings
from shared.store.postal_key import PostalKey


@dataclass(frozen=True, slots=True)
class Outward:
    """What both have, on the configured backend."""

    settings: Settings
    stores: Stores
    http: HTTPOut
    postal_key: PostalKey
    lanes: Lanes
    clock: Clock
    rng: random.Random
    loop: Loop


def open_outward(name: str) -> Outward:
    """Open it for the function of that name, once for each process.

    Raises:
        SettingsError: the environment is not usable.
    """
    settings = Settings.from_env(os.environ)
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.clock import utc_now
    from shared.adapters.dns import DNSResolver
    from shared.adapters.http_out import AiohttpOut
    from shared.adapters.opening import open_stores
    from shared.adapters.randomness import PooledRandom

    stores = open_stores(settings, caller=name)
    return Outward(
        settings,
        stores,
        http=AiohttpOut(DNSResolver(settings.dns_servers), allowed=settings.allow_networks.http),
        postal_key=PostalKey(stores.records, stores.keyring),
        lanes=Lanes(),
        clock=utc_now,
        rng=PooledRandom(),
        loop=Loop(_new_event_loop(), name),
    )


def _new_event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    # Standalone has it; Lambda waits for networks more than it computes.
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop
