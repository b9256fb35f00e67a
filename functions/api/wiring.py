"""Opens what the API needs, by the backend that the settings name."""

import os
from functools import cache

from functions.api.services import Services
from shared.adapters.clock import utc_now
from shared.adapters.opening import open_stores
from shared.adapters.randomness import PooledRandom
from shared.flow.accept import Acceptance
from shared.settings import Settings


@cache
def services() -> Services:
    """Return the services of this process, opened at the first call.

    Raises:
        SettingsError: the environment is not usable.
    """
    settings = Settings.from_env(os.environ)
    using = Acceptance.over(open_stores(settings, caller="api"), settings, clock=utc_now, rng=PooledRandom())
    return Services(using=using, clock=utc_now)
