"""Opens the storage that the settings name; every ``wiring.py`` comes here, and only here.

A backend is imported when it is first asked for: nobody loads SQLite on AWS, or the AWS SDK elsewhere.
"""

from collections.abc import Callable
from datetime import datetime

from shared.ports import Stores
from shared.settings import Settings

_closers: dict[str, Callable[[], None]] = {}
"""Of the backends that this process has opened."""


def open_stores(settings: Settings, *, caller: str = "", background: bool = False) -> Stores:
    """Return the stores.  Twice: the same.

    Args:
        settings: which backend, and where it is.
        caller: the function or part that opens them, such as ``events`` or ``deliver``; AWS sees it in each request.
        background: this process's writes may wait for those of others (embedded).

    Raises:
        StorageUnavailable: they cannot be used.
        SettingsError: something that the backend needs is not set.
        InvalidValue: the master key is malformed.
    """
    if settings.backend == "aws":
        from shared.adapters.aws import opening as aws

        _closers["aws"] = aws.close_stores
        return aws.open_stores(settings, caller=caller)
    from shared.adapters.embedded import opening as embedded

    _closers["embedded"] = embedded.close_stores
    return embedded.open_stores(settings, background=background)


def found_installation(settings: Settings, *, caller: str = "") -> None:
    """Make what an installation needs before its first things; blocks.  Twice: nothing more.

    That is the master key; embedded makes it when the stores are opened.

    Raises:
        StorageUnavailable: it is not known to be there.
        SettingsError: something that the backend needs is not set.
    """
    if settings.backend == "aws":
        from shared.adapters.aws.opening import make_master_key

        make_master_key(settings, caller=caller)


async def prune(settings: Settings, now: datetime, limit: int) -> int:
    """Remove up to ``limit`` records and ``limit`` bodies that expired by now; return how many.

    On AWS nothing: tables and buckets remove what has expired by themselves.

    Raises:
        StorageUnavailable: some may have been removed.
    """
    if settings.backend == "aws":
        return 0
    from shared.adapters.embedded.opening import open_embedded

    opened = open_embedded(settings)
    return await opened.records.prune(now, limit) + await opened.bodies.prune(now, limit)


def close_stores() -> None:
    """Finish what is pending and close everything that this process opened."""
    while _closers:
        _closers.popitem()[1]()
