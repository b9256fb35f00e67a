"""Queue records that wait for other people's servers: worked on all at once; what must come back is reported.

``functions.batch`` is for the others, which are done together.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from shared.domain.errors import InvalidValue, Unavailable

log = logging.getLogger(__name__)

# Any: an SQS record is JSON as AWS gives it.
Record: TypeAlias = Mapping[str, Any]


async def all_at_once(
    records: Sequence[Record], one: Callable[[Record], Awaitable[bool]], *, function: str
) -> dict[str, Any]:
    """Work on all records of a batch at once, so that a slow server holds up nobody else's.

    Args:
        records: of an SQS event.
        one: works on a record; True: it is done, False or any error: it comes again.
        function: whose records they are, for the log.

    Returns:
        ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures).
    """
    results = await asyncio.gather(*(one(each) for each in records), return_exceptions=True)
    failed: list[str] = []
    for record, result in zip(records, results, strict=True):
        fields = {"function": function, "record": record["messageId"]}
        if isinstance(result, Unavailable):
            log.warning("record_interrupted", exc_info=result, extra=fields)
        elif isinstance(result, InvalidValue):
            # Ends as a dead letter, where somebody can look at it.
            log.error("record_unreadable", exc_info=result, extra=fields)
        elif isinstance(result, BaseException):
            log.error("record_crashed", exc_info=result, extra=fields)
        if result is not True:
            failed.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
