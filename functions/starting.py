"""What each function on AWS sees to while it starts, before its first event."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from shared.domain.errors import StorageUnavailable, Unavailable
from shared.ports import Records
from shared.store.schema import stored_schema_problem

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""Lambda stops a function that takes ten seconds to start, and starts it again in the time of its first event."""


def check_schema(records: Records, *, patience_s: float = PATIENCE_S) -> None:
    """See that the records are of a form that this version knows: one read for each process, none for an event.

    If they cannot be read now, or not soon, the function starts all the same, and its work tells:
    not knowing must not turn a short outage of the store into one of the function.

    Raises:
        StorageUnavailable: a newer Edgepost has changed them.
    """
    # In a thread of its own: asyncio.run leaves its thread without a loop, and Mangum looks for one.
    thread = ThreadPoolExecutor(1, "starting")
    try:
        problem = thread.submit(asyncio.run, stored_schema_problem(records)).result(patience_s)
    except (Unavailable, TimeoutError):
        log.warning("schema_not_known", exc_info=True)
        return
    finally:
        thread.shutdown(wait=False)  # a call that hangs has its own limits
    if problem:
        log.error("schema_too_new", extra={"reason": problem})
        raise StorageUnavailable(problem)
