"""Opens everything that standalone keeps in its data directory.

All embedded adapters of one process share one ``SQLiteStore``: the first wiring
that asks opens it, the others get the same.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from shared.adapters.clock import utc_now
from shared.adapters.embedded.master_key import load_master_key
from shared.adapters.embedded.schema import Durability
from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_queue import SQLiteQueue
from shared.adapters.embedded.sqlite_records import SQLiteRecords
from shared.adapters.embedded.sqlite_uploads import SQLiteUploads
from shared.adapters.embedded.store import SQLiteStore
from shared.adapters.keyring import MasterKeyring
from shared.ports import Stores
from shared.settings import Settings

DATABASE = "edgepost.db"
MASTER_KEY = "master.key"
EVENTS = "events"
WEBHOOKS = "webhooks"
INBOUND = "inbound"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The opened adapters; ``stores`` is what flows get."""

    store: SQLiteStore
    records: SQLiteRecords
    bodies: SQLiteBodies
    stores: Stores


_opened: dict[Path, Embedded] = {}
_opening = threading.Lock()


def open_stores(settings: Settings, *, background: bool = False) -> Stores:
    """Return the stores of the data directory, like ``open_embedded``."""
    return open_embedded(settings, background=background).stores


def open_embedded(settings: Settings, *, background: bool = False) -> Embedded:
    """Open the data directory, which is made if it is missing.  Twice: the same adapters.

    Args:
        settings: where, how durable, and the master key.
        background: this process's writes may wait for those of others.

    Raises:
        StorageUnavailable: the directory or the database cannot be used.
        InvalidValue: the master key is malformed.
    """
    path = settings.data_dir.absolute() / DATABASE
    with _opening:
        if path not in _opened:
            _opened[path] = _open(settings, path, background=background)
        return _opened[path]


def close_stores() -> None:
    """Commit what is pending and close everything that this process opened."""
    with _opening:
        while _opened:
            _opened.popitem()[1].store.close()


def _open(settings: Settings, path: Path, *, background: bool) -> Embedded:
    store = SQLiteStore(path, durability=cast("Durability", settings.durability), background=background)
    store.open()
    key_file = settings.master_key_file or path.with_name(MASTER_KEY)
    keyring = MasterKeyring(load_master_key(settings.master_key, key_file))
    records = SQLiteRecords(store, utc_now)
    bodies = SQLiteBodies(store, utc_now)
    stores = Stores(
        records=records,
        bodies=bodies,
        work={pool: SQLiteQueue(store, f"work-{pool}", utc_now) for pool in settings.ip_pools},
        events=SQLiteQueue(store, EVENTS, utc_now),
        keyring=keyring,
        webhooks=SQLiteQueue(store, WEBHOOKS, utc_now),
        inbound=SQLiteQueue(store, INBOUND, utc_now),
        uploads=SQLiteUploads(bodies, keyring, settings.public_url, utc_now),
    )
    return Embedded(store, records, bodies, stores)
