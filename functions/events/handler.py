"""Consumes the events queue; what fails is reported item by item and comes again."""

import asyncio
from collections.abc import Sequence
from typing import Any

from functions.batch import in_one_go
from functions.events.wiring import services
from shared.domain.event import Event
from shared.flow.record import record


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Record a batch of SQS records; return ``{"batchItemFailures": […]}``."""
    return in_one_go(event, read=Event.from_json, do=_record)


def _record(batch: Sequence[Event]) -> None:
    asyncio.run(record(batch, events=services()))
