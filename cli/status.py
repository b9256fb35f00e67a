"""``edgepost status``: what there is, what waits, and whether the server runs."""

import asyncio
from typing import TYPE_CHECKING, Any

from cli.health import health as ask
from cli.printing import Answer

if TYPE_CHECKING:
    from cli.wiring import Tools
    from shared.ports import Queue

MAX_HELD_COUNTED = 10_000
"""Counting goes on to this many for each server; a larger number is shown as this one."""


async def status(tools: "Tools") -> Answer:
    """Return counts, queue depths and the server's health; bad news if it does not run."""
    servers = await _servers(tools)
    health = await asyncio.to_thread(ask, tools.settings)
    document = {
        "health": health,
        "data_dir": str(tools.settings.data_dir.absolute()),
        "organizations": await _organization_count(tools),
        "servers": servers,
        "queues": [
            *[await _depth(f"work {pool}", queue) for pool, queue in tools.stores.work.items()],
            await _depth("events", tools.stores.events),
            await _depth("webhooks", tools.stores.webhooks),
            await _depth("inbound", tools.stores.inbound),
        ],
    }
    said = "" if servers else "There is no server yet: `edgepost initialize`, or the first `edgepost serve`, makes one."
    return Answer(document, said=said, failed=health != "OK")


async def _organization_count(tools: "Tools") -> int:
    from cli.listing import every_organization

    return len([each async for each in every_organization(records=tools.stores.records)])


async def _servers(tools: "Tools") -> list[dict[str, Any]]:
    from cli.listing import every_server
    from shared.store.held import HeldMessages

    held = HeldMessages(tools.stores.records)
    found: list[dict[str, Any]] = []
    async for server, organization in every_server(records=tools.stores.records):
        suspended = bool(server.suspended_at or organization.suspended_at)
        found.append(
            {
                "server": server.permalink,
                "organization": organization.permalink,
                "state": "Suspended" if suspended else server.mode.value,
                "held": await held.counted(server, most=MAX_HELD_COUNTED),
            }
        )
    return found


async def _depth(name: str, queue: "Queue") -> dict[str, Any]:
    """Return what lies on a queue; nulls for one that cannot be asked now."""
    from shared.domain.errors import StorageUnavailable

    try:
        depth = await queue.depth()
    except StorageUnavailable:
        return {"queue": name, "ready": None, "delayed": None, "in_flight": None, "dead": None}
    return {
        "queue": name,
        "ready": depth.ready,
        "delayed": depth.delayed,
        "in_flight": depth.in_flight,
        "dead": depth.dead,
    }
