"""Consumes the webhooks queue: delivers parcels; what must come back is reported item by item."""

import asyncio
import logging
from typing import Any

from functions.webhooks.wiring import services
from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.parcel import Parcel
from shared.flow.notify import Notifying, notify

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Deliver a batch of SQS records; return ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures)."""
    made = services()
    return made.loop.run(_deliver(event["Records"], made.notifying))


async def _deliver(records: list[dict[str, Any]], using: Notifying) -> dict[str, Any]:
    """Work on all records at once: a slow endpoint holds up no other's parcel."""
    results = await asyncio.gather(*(_one(each["body"], using) for each in records), return_exceptions=True)
    failed: list[str] = []
    for record, result in zip(records, results, strict=True):
        if isinstance(result, Unavailable):
            log.warning("webhook_parcel_interrupted", exc_info=result)
        elif isinstance(result, InvalidValue):
            log.error("webhook_parcel_unreadable", exc_info=result)  # ends as a dead letter, where somebody can look
        elif isinstance(result, BaseException):
            log.error("webhook_parcel_crashed", exc_info=result)
        if result is not True:
            failed.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


async def _one(body: str, using: Notifying) -> bool:
    return await notify(Parcel.from_json(body), using=using)
