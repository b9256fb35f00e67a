"""Opens what the API needs, by the backend that the settings name."""

import os
from functools import cache

from functions.api.services import Services
from shared.adapters.clock import utc_now
from shared.adapters.randomness import PooledRandom
from shared.flow.accept import Acceptance
from shared.ports import Stores
from shared.settings import Settings, SettingsError


@cache
def services() -> Services:
    """Return the services of this process, opened at the first call.

    Raises:
        SettingsError: the environment is not usable.
    """
    settings = Settings.from_env(os.environ)
    using = Acceptance.over(_stores(settings), settings, clock=utc_now, rng=PooledRandom())
    return Services(using=using, clock=utc_now)


def _stores(settings: Settings) -> Stores:
    if settings.backend == "embedded":
        from shared.adapters.embedded.opening import open_stores

        return open_stores(settings)
    raise SettingsError([f"this installation has no adapters for EDGEPOST_BACKEND={settings.backend}"])
