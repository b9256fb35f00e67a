"""Consumes the webhooks queue: delivers parcels; what must come back is reported item by item."""

from functools import partial
from typing import Any

from functions.outward.records import Record, all_at_once
from functions.webhooks.wiring import services
from shared.domain.parcel import Parcel
from shared.flow.notify import Notifying, notify


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Deliver a batch of SQS records; return ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures)."""
    made = services()
    one = partial(deliver_record, using=made.notifying)
    return made.outward.loop.run(all_at_once(event["Records"], one, function="webhooks"))


async def deliver_record(record: Record, using: Notifying) -> bool:
    """Deliver the parcel in a record."""
    return await notify(Parcel.from_json(record["body"]), using=using)
