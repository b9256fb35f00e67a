"""Opens an installation's storage on AWS.

Each function and each part of a node that asks gets adapters of its own, which say its name in every
request; opening costs nothing but memory, because clients are made at their first call.
"""

import os
import random
import threading
from dataclasses import dataclass
from functools import partial

from shared.adapters.aws.bodies import DynamoDBAndS3Bodies
from shared.adapters.aws.calls import Calls
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.dynamodb_records import DynamoDBRecords
from shared.adapters.aws.late_keyring import LateKeyring
from shared.adapters.aws.s3_uploads import S3Uploads
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.sqs_queue import SQSQueue, Windows
from shared.adapters.aws.stack import Names, names_of
from shared.adapters.aws.threads import CALLS, Threads
from shared.adapters.clock import utc_now
from shared.ports import Clock, Keyring, Stores
from shared.settings import Settings

_ALONE = Windows(send_s=0, settle_s=0)
"""In Lambda one invocation has the process for itself: there are no others to wait for."""


@dataclass(frozen=True, slots=True)
class OnAWS:
    """The opened adapters; ``stores`` is what flows get."""

    threads: Threads
    stores: Stores


_opened: dict[tuple[Settings, str], OnAWS] = {}
_opening = threading.Lock()


def open_stores(settings: Settings, *, caller: str = "") -> Stores:
    """Return the stores of the settings' stack for this caller.  Twice: the same.

    Raises:
        SettingsError: names are missing.
        StorageUnavailable: the stack cannot be asked for them.
    """
    caller = _caller(caller)
    with _opening:
        if (settings, caller) not in _opened:
            threads, patience = Threads(caller), Patience()
            clients = Clients(caller, CALLS, patience)
            windows = _ALONE if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else Windows()
            names = names_of(settings, clients)
            stores = stores_of(names, settings, clients, threads, patience=patience, windows=windows)
            _opened[settings, caller] = OnAWS(threads, stores)
        return _opened[settings, caller].stores


def stores_of(
    names: Names,
    settings: Settings,
    clients: Clients,
    threads: Threads,
    *,
    patience: Patience,
    windows: Windows,
    clock: Clock = utc_now,
) -> Stores:
    """Return adapters with these names; nothing is asked from AWS yet."""
    # Spreads tries that met; nothing secret is drawn from it.
    rng = random.Random()  # noqa: S311
    calls = Calls(threads, patience, rng)
    dynamodb = DynamoDB(clients, calls)
    queue = partial(SQSQueue, clients, calls, windows=windows)
    bodies = DynamoDBAndS3Bodies(dynamodb, clients, table=names.bodies_table, bucket=names.bodies_bucket, clock=clock)
    return Stores(
        records=DynamoDBRecords(dynamodb, names.records_table, clock),
        bodies=bodies,
        work={pool: queue(url) for pool, url in names.work_queues.items()},
        # Nobody waits for an event to be sent but a worker with many messages in hand.
        events=queue(names.events_queue, windows=Windows(windows.settle_s, windows.settle_s)),
        webhooks=queue(names.webhooks_queue),
        inbound=queue(names.inbound_queue),
        keyring=LateKeyring(partial(_keyring, settings, clients, names.secrets_path)),
        uploads=S3Uploads(clients, calls, bucket=names.bodies_bucket, clock=clock),
    )


def _keyring(settings: Settings, clients: Clients, secrets_path: str) -> Keyring:
    # Imported here: a function that opens no secret has neither of these in its package, nor cryptography.
    from shared.adapters.aws.master_key import SSMMasterKey
    from shared.adapters.keyring import MasterKeyring, decoded_master_key

    if settings.master_key:
        return MasterKeyring(decoded_master_key(settings.master_key, "the master key in the settings"))
    return MasterKeyring(SSMMasterKey(clients, secrets_path).read())


def make_master_key(settings: Settings, *, caller: str) -> None:
    """Make the installation's master key unless there is one; blocks.

    Raises:
        SettingsError: names are missing.
        StorageUnavailable: the key is not known to be there.
    """
    from shared.adapters.aws.master_key import SSMMasterKey

    if not settings.master_key:
        clients = Clients(_caller(caller), 1, Patience())
        SSMMasterKey(clients, names_of(settings, clients).secrets_path).make(os.urandom)


def _caller(name: str) -> str:
    return name or os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "") or "other"


def close_stores() -> None:
    """Let go of everything that this process opened."""
    with _opening:
        while _opened:
            _opened.popitem()[1].threads.close()
