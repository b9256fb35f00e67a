"""Batches of a queue that are done in one go; what fails is reported item by item and comes again.

Powertools for AWS Lambda reads the records: one that cannot be read fails alone,
whatever is wrong with it.  All the others are then done together, because one
write for many costs less than many (docs/decisions/0011).
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN = (Unavailable, Unavailable("this record must come again"), None)
"""What Powertools is told of a record that was read and not done."""


def in_one_go(
    event: Mapping[str, Any], *, read: Callable[[str], T], do: Callable[[Sequence[T]], Collection[int] | None]
) -> dict[str, Any]:
    """Read each record of an SQS event and do all of them together.

    Args:
        event: as Lambda gives it.
        read: makes an item of a record's body; whatever it raises fails that record only.
        do: does all items that could be read and returns the positions of those that must come
            again, None for none; ``Unavailable`` fails all of them, and any other error is
            raised, so that Lambda repeats the whole batch.

    Returns:
        ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures).
    """

    def read_one(record: SQSRecord) -> T:
        try:
            return read(record.body)
        except Exception:
            # Ends as a dead letter, where somebody can look at it.
            log.exception("record_unreadable", extra={"record": record.message_id})
            raise

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(event["Records"], handler=read_one) as batch:
        readable = [(item, record) for outcome, item, record in batch.process() if outcome == "success"]
        try:
            failed = do([item for item, _ in readable]) or ()
        except Unavailable:
            log.warning("batch_failed", exc_info=True, extra={"records": len(readable)})
            failed = range(len(readable))
        for position in failed:
            batch.failure_handler(SQSRecord(readable[position][1]), _AGAIN)
    return dict(processor.response())
