"""The receiving part: SMTP in on the sockets it was handed."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from smtp_node.receive.wiring import build_service
from standalone.parts import PART_DRAIN, Context

DOORS = ("smtp", "submission", "submissions")

THREADS = 1
"""For large messages.  Each that computes may keep the event loop waiting for ``SWITCH_S`` whenever it wakes up."""

SWITCH_S = 0.0001
"""Python's own 5 ms, with a dozen wake-ups for a mail, would double what a small mail takes beside one large."""


async def run(context: Context) -> None:
    """Receive until asked to end; mail whose DATA was begun is taken."""
    sys.setswitchinterval(SWITCH_S)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="large"))
    service = build_service(context.settings, meter=context.meter)
    await service.start({door: [*context.listening[door]] for door in DOORS})
    context.ready()
    await context.stop.wait()
    await service.stop(PART_DRAIN)
