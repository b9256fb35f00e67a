"""Consumes the inbound queue: gives mail to HTTP endpoints; what must come back is reported item by item."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from functions.inbound.wiring import services
from functions.outward.records import Record, all_at_once
from shared.domain.job import Job
from shared.flow.forward import Forwarding, forward

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Work on a batch of SQS records; return ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures)."""
    made = services()
    one = partial(forward_record, using=made.forwarding)
    return made.outward.loop.run(all_at_once(event["Records"], one, function="inbound"))


async def forward_record(record: Record, using: Forwarding) -> bool:
    """Work on the job in a record."""
    attributes = record["attributes"]
    sent_at = _EPOCH + timedelta(milliseconds=int(attributes["SentTimestamp"]))
    receives = int(attributes["ApproximateReceiveCount"])
    return await forward(Job.from_json(record["body"]), sent_at=sent_at, receives=receives, using=using)
