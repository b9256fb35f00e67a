"""Runs every minute: sends what has become due, ends holds whose time is up, lets busy servers grow."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from functions.scheduled.wiring import services
from shared.flow.due import do_due
from shared.flow.grow import grow_busy

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Do what is due by now, whatever moment the event names; a late event skips nothing."""
    return asyncio.run(_every_minute(datetime.now(UTC)))


async def _every_minute(now: datetime) -> dict[str, Any]:
    using = services()
    done = await do_due(using=using.due, now=now)
    if done:
        log.info("due_done", extra={"entries": done})
    grown = await grow_busy(using=using.growing, now=now) if using.growing else 0
    return {"done": done, "grown": grown}
