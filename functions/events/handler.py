"""Consumes the events queue; what fails is reported item by item and comes again."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from functions.batch import in_one_go
from functions.events.wiring import services
from shared.domain.event import Event
from shared.flow.follow import follow
from shared.flow.hand_on import hand_on
from shared.flow.record import record


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Record a batch of SQS records; return ``{"batchItemFailures": […]}``."""
    return in_one_go(event, read=Event.from_json, do=_record)


def _record(batch: Sequence[Event]) -> Collection[int]:
    """Record events, hand on the new ones, and return the positions of those that must come again."""
    made = services()

    async def hand_on_all(new: Sequence[Event]) -> None:
        await hand_on(new, using=made.handing_on)
        await follow(new, using=made.following, now=made.clock())

    failed = asyncio.run(record(batch, using=made.recording, hand_on=hand_on_all)).failed
    return [position for position, event in enumerate(batch) if event.id in failed] if failed else ()
