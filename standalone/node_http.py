"""The HTTP part of a node: health, readiness and figures; everything else is not found."""

from standalone.http import serve_front
from standalone.parts import Context
from standalone.wiring import build_node_front


async def run(context: Context) -> None:
    """Serve until asked to end."""
    await serve_front(build_node_front(context), context)
