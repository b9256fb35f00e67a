"""Builds what the inbound function needs, once for each process."""

import functools
from dataclasses import dataclass

from functions.outward.wiring import Outward, open_outward
from shared.flow.forward import Forwarding
from shared.flow.inbound_request import InboundRequests
from shared.flow.settle import Settling
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Services:
    """What forwarding needs, and what it runs in."""

    forwarding: Forwarding
    outward: Outward


@functools.cache
def services() -> Services:
    """Return the stage's needs on the configured backend."""
    opened = open_outward("inbound")
    stores = opened.stores
    forwarding = Forwarding(
        settling=Settling(stores, Messages(stores.records), Schedule(stores.records), opened.settings, opened.rng),
        directory=Directory(stores.records, clock=opened.clock),
        requests=InboundRequests(opened.http, stores.keyring, opened.postal_key),
        lanes=opened.lanes,
        clock=opened.clock,
    )
    return Services(forwarding, opened)
