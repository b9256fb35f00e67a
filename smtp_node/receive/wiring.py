"""Builds the SMTP door of this node."""

from shared.adapters.clock import utc_now
from shared.adapters.dns import DNSResolver
from shared.adapters.randomness import PooledRandom
from shared.flow.accept import Acceptance
from shared.settings import Settings
from smtp_node.receive.inside import inside
from smtp_node.receive.limits import ReceiveLimits
from smtp_node.receive.metering import Meter
from smtp_node.receive.service import ReceiveService
from smtp_node.receive.tls import tls_contexts


def build_service(settings: Settings, *, meter: Meter | None = None) -> ReceiveService:
    """Return a door on the configured backend.

    Raises:
        SettingsError: the certificate cannot be used.
        StorageUnavailable: the stores cannot be opened.
    """
    # Imported here: a node must not load the adapters of the other backend.
    from shared.adapters.opening import open_stores

    rng = PooledRandom()
    using = Acceptance.over(open_stores(settings, caller="receive"), settings, clock=utc_now, rng=rng)
    return ReceiveService(
        ReceiveLimits.of(settings),
        inside(using, clock=utc_now, resolver=DNSResolver(settings.dns_servers)),
        tls=tls_contexts(settings),
        rng=rng,
        meter=meter,
    )
