"""What commands work with: the settings, the stores, the time, randomness."""

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.domain.errors import StorageUnavailable
from shared.network import Resolver
from shared.ports import Clock, Stores
from shared.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from shared.flow.accept import Acceptance
    from shared.flow.inbound_request import InboundRequests
    from shared.flow.initialize import FirstRun
    from shared.flow.settle import Settling
    from shared.flow.webhook_request import Requests
    from shared.network import HTTPOut
    from shared.ports import TokenKeyStore


@dataclass(frozen=True, slots=True)
class Tools:
    """Open for the time of one command."""

    settings: Settings
    stores: Stores
    clock: Clock
    rng: random.Random
    """The system's: keys are drawn from it."""

    def now(self) -> datetime:
        """Return the present moment."""
        return self.clock()

    def acceptance(self) -> "Acceptance":
        """Return what accepting a message needs."""
        from shared.flow.accept import Acceptance

        return Acceptance.over(self.stores, self.settings, clock=self.clock, rng=self.rng)

    def settling(self) -> "Settling":
        """Return what releasing and cancelling held mail needs."""
        from shared.flow.settle import Settling
        from shared.store.messages import Messages
        from shared.store.schedule import Schedule

        records = self.stores.records
        return Settling(self.stores, Messages(records), Schedule(records), self.settings, self.rng)

    @contextlib.asynccontextmanager
    async def requests(self) -> "AsyncIterator[Requests]":
        """Return what signs and sends webhooks, for the time of a block."""
        from shared.flow.webhook_request import Requests
        from shared.store.postal_key import PostalKey

        async with self._http() as http:
            yield Requests(http, self.stores.keyring, PostalKey(self.stores.records, self.stores.keyring))

    @contextlib.asynccontextmanager
    async def inbound_requests(self) -> "AsyncIterator[InboundRequests]":
        """Return what signs and sends mail to routes' endpoints, for the time of a block."""
        from shared.flow.inbound_request import InboundRequests
        from shared.store.postal_key import PostalKey

        async with self._http() as http:
            yield InboundRequests(http, self.stores.keyring, PostalKey(self.stores.records, self.stores.keyring))

    @contextlib.asynccontextmanager
    async def _http(self) -> "AsyncIterator[HTTPOut]":
        from shared.adapters.http_out import AiohttpOut

        http = AiohttpOut(self.resolver(), allowed=self.settings.allow_networks.http)
        try:
            yield http
        finally:
            await http.close()

    def resolver(self) -> Resolver:
        """Return the DNS."""
        from shared.adapters.dns import DNSResolver

        return DNSResolver(self.settings.dns_servers)

    def token_keys(self) -> "TokenKeyStore":
        """Return where the keys of tokens lie."""
        from shared.adapters.token_keys import open_token_keys

        return open_token_keys(self.settings, caller="cli")


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Tools]:
    """Open the stores for one command and close them after it.

    Raises:
        StorageUnavailable: they cannot be opened; the text says why.
    """
    from shared.adapters.clock import utc_now
    from shared.adapters.opening import close_stores, open_stores

    if settings.backend == "embedded":
        check_writable(settings.data_dir)
    stores = open_stores(settings, caller="cli")
    try:
        yield Tools(settings, stores, utc_now, random.SystemRandom())
    finally:
        close_stores()


def check_writable(data_dir: "Path") -> None:
    """Make the data directory if it is missing, and see that files can be made in it.

    Raises:
        StorageUnavailable: it cannot be made or written.
    """
    probe = data_dir / ".writable"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch(mode=0o600)
        probe.unlink(missing_ok=True)
    except OSError as exc:
        raise StorageUnavailable(
            f"cannot write to the data directory {data_dir.absolute()}: {exc.strerror};"
            " make it writable for this user, or choose another with EDGEPOST_DATA_DIR"
        ) from exc


async def first_run(tools: Tools) -> "FirstRun":
    """Make the first things, or return what was made before, under the data directory's lock."""
    from shared.adapters.first_run_file import FirstRunFile
    from shared.adapters.opening import found_installation
    from shared.flow.initialize import initialize
    from shared.flow.token_keys import ensure_keys

    # The secrets are written here, whichever backend holds the rest.
    check_writable(tools.settings.data_dir)
    found_installation(tools.settings, caller="cli")
    ensure_keys(tools.token_keys(), tools.rng.randbytes)
    file = FirstRunFile(tools.settings.data_dir)
    async with file.locked():
        return await initialize(
            records=tools.stores.records,
            keyring=tools.stores.keyring,
            settings=tools.settings,
            file=file,
            rng=tools.rng,
            now=tools.now(),
        )
