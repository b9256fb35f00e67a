"""Runs every minute: sends what has become due, ends holds whose time is up."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from functions.scheduled.wiring import services
from shared.flow.due import do_due

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Do what is due by now, whatever moment the event names; a late event skips nothing."""
    done = asyncio.run(do_due(using=services(), now=datetime.now(UTC)))
    if done:
        log.info("due_done", extra={"entries": done})
    return {"done": done}
