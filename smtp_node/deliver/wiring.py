"""Builds the delivery worker of this node."""

import os
import time

from shared.adapters.clock import utc_now
from shared.adapters.dns import DNSResolver
from shared.adapters.randomness import PooledRandom
from shared.adapters.token_keys import open_token_keys
from shared.flow.settle import Settling
from shared.flow.token_keys import TokenSource
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.schedule import Schedule
from smtp_node.authentication.keys import SigningKeys
from smtp_node.deliver.attempt import Attempts
from smtp_node.deliver.destinations import Destinations
from smtp_node.deliver.jobs import Jobs
from smtp_node.deliver.pool import Pool
from smtp_node.deliver.route import RouteRules
from smtp_node.deliver.send import Sender
from smtp_node.deliver.tls import TLSContexts
from smtp_node.deliver.worker import Worker
from smtp_node.scan.wiring import build_scanning


def build_worker(settings: Settings) -> Worker:
    """Return a worker on the configured backend; call it inside a running event loop."""
    # Imported here: a node must not load the adapters of the other backend.
    from shared.adapters.opening import open_stores

    stores = open_stores(settings, caller="deliver")
    rng = PooledRandom()
    pool = Pool(TLSContexts())
    sender = Sender(
        resolver=DNSResolver(settings.dns_servers),
        pool=pool,
        rules=RouteRules(settings.delivery_port, settings.delivery_ipv6, settings.allow_networks.smtp),
        rng=rng,
        now=utc_now,
    )
    attempts = Attempts(
        settling=Settling(
            stores=stores,
            messages=Messages(stores.records),
            schedule=Schedule(stores.records),
            settings=settings,
            rng=rng,
        ),
        directory=Directory(stores.records, clock=utc_now),
        keys=SigningKeys(stores.keyring),
        tokens=TokenSource(open_token_keys(settings, caller="deliver"), clock=utc_now, random_bytes=os.urandom),
        sender=sender,
        clock=utc_now,
        rng=rng,
        sources=settings.source_addresses,
        smart_hosts=dict(settings.pool_smart_hosts),
        scanning=build_scanning(settings),
    )
    destinations = Destinations(
        settings.delivery_connections_per_domain,
        settings.delivery_connections // 2,
        monotonic=time.monotonic,
        time_factor=settings.time_factor,
    )
    queues = {pool: stores.work[pool] for pool in settings.ip_pools}
    return Worker(queues, Jobs(attempts, destinations), settings.delivery_connections)
