"""Opens what the API needs, by the backend that the settings name."""

import os
import random
from functools import cache

from functions.api.services import Services
from shared.adapters.clock import utc_now
from shared.flow.accept import Acceptance
from shared.ports import Stores
from shared.settings import Settings, SettingsError
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.reservations import Reservations


@cache
def services() -> Services:
    """Return the services of this process, opened at the first call.

    Raises:
        SettingsError: the environment is not usable.
    """
    settings = Settings.from_env(os.environ)
    stores = _stores(settings)
    directory = Directory(stores.records, clock=utc_now)
    messages = Messages(stores.records)
    using = Acceptance(
        stores=stores,
        directory=directory,
        messages=messages,
        reservations=Reservations(stores.records),
        settings=settings,
        rng=random.SystemRandom(),
    )
    return Services(
        settings=settings, using=using, directory=directory, messages=messages, stores=stores, clock=utc_now
    )


def _stores(settings: Settings) -> Stores:
    if settings.backend == "embedded":
        from shared.adapters.embedded.opening import open_stores

        return open_stores(settings)
    raise SettingsError([f"this installation has no adapters for EDGEPOST_BACKEND={settings.backend}"])
