"""Builds the SMTP door of this node."""

import os

from shared.adapters.clock import utc_now
from shared.adapters.dns import DNSResolver
from shared.adapters.randomness import PooledRandom
from shared.adapters.token_keys import open_token_keys
from shared.flow.accept import Acceptance
from shared.flow.aside import Aside, in_thread
from shared.flow.token_keys import TokenSource
from shared.settings import Settings
from smtp_node.authentication.inbound import Authentication
from smtp_node.receive.inside import inside
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.metering import Meter
from smtp_node.receive.service import ReceiveService
from smtp_node.receive.tls import tls_contexts
from smtp_node.scan.wiring import build_scanning


def build_service(settings: Settings, *, meter: Meter | None = None, aside: Aside = in_thread) -> ReceiveService:
    """Return a door on the configured backend.

    Args:
        settings: of the installation.
        meter: counts what comes in.
        aside: where reports are read.

    Raises:
        SettingsError: the certificate cannot be used.
        StorageUnavailable: the stores cannot be opened.
    """
    # Imported here: a node must not load the adapters of the other backend.
    from shared.adapters.opening import open_stores

    rng = PooledRandom()
    using = Acceptance.over(open_stores(settings, caller="receive"), settings, clock=utc_now, rng=rng)
    resolver = DNSResolver(settings.dns_servers)
    return ReceiveService(
        ReceiveLimits.of(settings),
        inside(
            using,
            tokens=TokenSource(open_token_keys(settings, caller="receive"), clock=utc_now, random_bytes=os.urandom),
            authentication=Authentication(resolver, settings.hostname),
            scanning=build_scanning(settings),
            clock=utc_now,
            resolver=resolver,
            aside=aside,
        ),
        tls=tls_contexts(settings),
        rng=rng,
        meter=meter,
    )
