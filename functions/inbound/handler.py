"""Consumes the inbound queue: gives mail to HTTP endpoints; what must come back is reported item by item."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.inbound.wiring import services
from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.job import Job
from shared.flow.forward import Forwarding, forward

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work on a batch of SQS records; return ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures)."""
    made = services()
    return made.loop.run(_forward(event["Records"], made.forwarding))


async def _forward(records: list[dict[str, Any]], using: Forwarding) -> dict[str, Any]:
    """Work on all records at once: a slow endpoint holds up no other's mail."""
    results = await asyncio.gather(*(_one(each, using) for each in records), return_exceptions=True)
    failed: list[str] = []
    for record, result in zip(records, results, strict=True):
        if isinstance(result, Unavailable):
            log.warning("inbound_job_interrupted", exc_info=result)
        elif isinstance(result, InvalidValue):
            log.error("inbound_job_unreadable", exc_info=result)  # ends as a dead letter, where somebody can look
        elif isinstance(result, BaseException):
            log.error("inbound_job_crashed", exc_info=result)
        if result is not True:
            failed.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


# Any: an SQS record, as JSON.
async def _one(record: Mapping[str, Any], using: Forwarding) -> bool:
    attributes = record["attributes"]
    sent_at = _EPOCH + timedelta(milliseconds=int(attributes["SentTimestamp"]))
    receives = int(attributes["ApproximateReceiveCount"])
    return await forward(Job.from_json(record["body"]), sent_at=sent_at, receives=receives, using=using)
