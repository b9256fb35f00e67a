"""The parts of the process tree, and what each is handed when it starts.

| part | does | listens for |
| --- | --- | --- |
| ``consumers`` | runs the functions: events, the every-minute tick, removal of expired data | |
| ``deliver`` | SMTP out | |
| ``receive`` | SMTP in | smtp, submission, submissions |
| ``http`` | API, health, figures | http |

A node has ``deliver``, ``receive`` and an ``http`` that shows health and figures only.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from shared.settings import Settings
from shared.telemetry import Meter
from standalone.sockets import Listening

DRAIN = timedelta(seconds=30)
"""From the request to end until what still runs is killed; systemd waits 90 s (TimeoutStopSec)."""

PART_DRAIN = timedelta(seconds=25)
"""What a part may use of it for its own work, so that it can still tidy up."""

CONFIGURATION = 2
"""Exit status of a part that can never start as it is configured: it is not started again."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the tree; its module has ``async def run(context: Context) -> None``."""

    name: str
    module: str
    doors: Sequence[str] = ()


PARTS = (
    Part("consumers", "standalone.consumers"),
    Part("deliver", "standalone.deliver"),
    Part("receive", "standalone.receive", ("smtp", "submission", "submissions")),
    Part("http", "standalone.http", ("http",)),
)
"""Of ``edgepost serve``."""

NODE_PARTS = (
    Part("deliver", "standalone.deliver"),
    Part("receive", "standalone.receive", ("smtp", "submission", "submissions")),
    Part("http", "standalone.node_http", ("http",)),
)
"""Of ``edgepost node``."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a running part knows of its surroundings."""

    settings: Settings
    listening: Listening
    meter: Meter
    run_dir: Path
    stop: asyncio.Event
    """Set when the part has to end: it finishes what it has begun, within ``PART_DRAIN``, and returns."""

    ready: Callable[[], None]
    """To be called once, when the part does its work."""
