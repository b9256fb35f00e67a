"""The delivery part: the SMTP node's worker for the pools of this installation."""

from smtp_node.deliver.wiring import build_worker
from standalone.parts import PART_DRAIN, Context


async def run(context: Context) -> None:
    """Deliver until asked to end; attempts that were begun are finished."""
    worker = build_worker(context.settings)
    context.ready()
    await worker.run(context.stop, drain=PART_DRAIN)
