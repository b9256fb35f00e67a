"""Which queue takes the work of an IP pool."""

from shared.domain.errors import StorageUnavailable
from shared.ports import Queue, Stores


def work_queue(stores: Stores, pool: str) -> Queue:
    """Return the work queue of an IP pool.

    Raises:
        StorageUnavailable: this process was started without that pool.
    """
    if pool not in stores.work:
        raise StorageUnavailable(f"there is no work queue for the IP pool {pool}")
    return stores.work[pool]
