"""Consumes the events queue; what fails is reported item by item and comes again."""

import asyncio
import logging
from typing import Any

from functions.events.wiring import services
from shared.domain.errors import InvalidValue
from shared.domain.event import Event
from shared.flow.record import record

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Record a batch of SQS records; return ``{"batchItemFailures": […]}`` (AWS: ReportBatchItemFailures)."""
    failed: list[str] = []
    events: dict[str, Event] = {}
    for item in event["Records"]:
        try:
            events[item["messageId"]] = Event.from_json(item["body"])
        except InvalidValue:
            log.exception("event_unreadable")  # ends as a dead letter, where somebody can look at it
            failed.append(item["messageId"])
    recorded = asyncio.run(record(list(events.values()), using=services()))
    if recorded.failed:
        failed.extend(name for name, event in events.items() if event.id in recorded.failed)
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
