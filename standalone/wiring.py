"""Builds what the parts of standalone need, on the configured backend."""

import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from shared.flow.initialize import FirstRun, initialize, is_initialized
from shared.ports import Clock, Queue, Stores
from shared.settings import Settings
from standalone.lambda_events import Handler
from standalone.parts import Context
from standalone.starting import CannotStart

if TYPE_CHECKING:
    from standalone.front import Front
    from standalone.tracking_front import TrackingFront

PRUNED_AT_ONCE = 10_000


async def first_run(settings: Settings) -> FirstRun:
    """Open the store once, make the first things or find them there, and close it.

    Raises:
        StorageUnavailable: the database cannot be opened, or is of a newer version.
        InvalidValue: the master key is malformed or not this store's, or the token keys are none.
    """
    from shared.adapters.clock import utc_now
    from shared.adapters.first_run_file import FirstRunFile
    from shared.adapters.opening import close_stores, found_installation, open_stores
    from shared.adapters.token_keys import open_token_keys
    from shared.flow.token_keys import ensure_keys

    stores = open_stores(settings, caller="cli")
    try:
        found_installation(settings, caller="cli")
        ensure_keys(open_token_keys(settings, caller="cli"), os.urandom)
        file = FirstRunFile(settings.data_dir)
        async with file.locked():
            return await initialize(
                records=stores.records,
                keyring=stores.keyring,
                settings=settings,
                file=file,
                rng=random.SystemRandom(),
                now=utc_now(),
            )
    finally:
        close_stores()


async def check_store(settings: Settings) -> None:
    """See that a node can work on this store: initialized, of a form it knows, opened by its master key.

    Raises:
        CannotStart: nobody has initialized it.
        StorageUnavailable: it cannot be opened, or is of a newer version.
        InvalidValue: the master key is malformed or not this store's.
    """
    from shared.adapters.opening import close_stores, open_stores

    stores = open_stores(settings, caller="node")
    try:
        if not await is_initialized(records=stores.records, keyring=stores.keyring):
            raise CannotStart(
                "This store has no installation yet, and a node does not make one: run `edgepost initialize` first"
            )
    finally:
        close_stores()


def build_front(context: Context) -> "Front":
    """Return the HTTP part's application: health and figures before the API."""
    # Imported here: only the HTTP part needs FastAPI and Prometheus' collectors.
    from functions.api.app import build_app
    from functions.api.wiring import services
    from standalone.front import Front
    from standalone.health import Health
    from standalone.scrape import Sources

    made = services()
    queues = {"events": made.stores.events, "webhooks": made.stores.webhooks, "inbound": made.stores.inbound} | {
        f"work-{pool}": each for pool, each in made.stores.work.items()
    }
    return Front(
        api=build_app(made),
        health=Health(made.stores.records, clock=made.clock),
        directory=made.directory,
        records=made.stores.records,
        settings=context.settings,
        sources=Sources(context.run_dir, queues),
        meter=context.meter,
        version=edgepost_version(),
        tracking=_tracking_front(context, made.stores, made.clock),
    )


def _tracking_front(context: Context, stores: Stores, clock: Clock) -> "TrackingFront":
    from shared.adapters.token_keys import open_token_keys
    from shared.flow.token_keys import TokenSource
    from shared.store.suspended import Suspended
    from shared.store.track_domains import TrackDomains
    from standalone.hit_queue import HitQueue
    from standalone.lambda_http import LambdaHTTP
    from standalone.tracking_front import TrackingFront
    from standalone.tracking_hosts import TrackingHosts

    settings = context.settings
    hits = HitQueue(stores.events, context.meter)
    functions = LambdaHTTP(
        source=TokenSource(open_token_keys(settings, caller="http"), clock=clock, random_bytes=os.urandom),
        suspended=Suspended(stores.records),
        hits=hits,
        clock=clock,
        trusted_proxies=settings.trusted_proxies,
    )
    hosts = TrackingHosts(TrackDomains(stores.records), settings, is_ours=functions.is_ours)
    return TrackingFront(hosts, functions, hits, settings.trusted_proxies)


def build_node_front(context: Context) -> "Front":
    """Return a node's HTTP application: health and figures, and no API behind them."""
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import open_stores
    from shared.store.directory import Directory
    from standalone.front import Front, nothing_else
    from standalone.health import Health
    from standalone.scrape import Sources

    stores = open_stores(context.settings, caller="node")
    return Front(
        api=nothing_else,
        health=Health(stores.records, clock=utc_now),
        directory=Directory(stores.records, clock=utc_now),
        records=stores.records,
        settings=context.settings,
        # The queues belong to the installation: on AWS CloudWatch shows them, and a node may not ask for their depth.
        sources=Sources(context.run_dir, {}),
        meter=context.meter,
        version=edgepost_version(),
    )


@dataclass(frozen=True, slots=True)
class Consumers:
    """What the consumers part runs."""

    clock: Clock
    events_queue: Queue
    events_handler: Handler
    webhooks_queue: Queue
    webhooks_handler: Handler
    inbound_queue: Queue
    inbound_handler: Handler
    scheduled_handler: Handler
    prune: Callable[[datetime], Awaitable[int]]
    close: Callable[[], None]


def build_consumers(settings: Settings) -> Consumers:
    """Return the consumers' queues and functions; their writes give way to those of the doors."""
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import close_stores, open_stores
    from shared.adapters.opening import prune as prune_stores

    # Before the functions' own wiring, which then finds an embedded store open.
    stores = open_stores(settings, caller="consumers", background=True)
    from functions.events.handler import handler as events_handler
    from functions.inbound.handler import handler as inbound_handler
    from functions.scheduled.handler import handler as scheduled_handler
    from functions.webhooks.handler import handler as webhooks_handler

    async def prune(now: datetime) -> int:
        return await prune_stores(settings, now, PRUNED_AT_ONCE)

    return Consumers(
        clock=utc_now,
        events_queue=stores.events,
        events_handler=events_handler,
        webhooks_queue=stores.webhooks,
        webhooks_handler=webhooks_handler,
        inbound_queue=stores.inbound,
        inbound_handler=inbound_handler,
        scheduled_handler=scheduled_handler,
        prune=prune,
        close=close_stores,
    )


def edgepost_version() -> str:
    """Return the installed version."""
    try:
        return version("edgepost")
    except PackageNotFoundError:
        return "unknown"
