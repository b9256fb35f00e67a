"""The receiving part: SMTP in on the sockets it was handed."""

from smtp_node.receive.wiring import build_service
from standalone.parts import PART_DRAIN, Context

DOORS = ("smtp", "submission", "submissions")


async def run(context: Context) -> None:
    """Receive until asked to end; mail whose DATA was begun is taken."""
    service = build_service(context.settings, meter=context.meter)
    await service.start({door: [*context.listening[door]] for door in DOORS})
    context.ready()
    await context.stop.wait()
    await service.stop(PART_DRAIN)
