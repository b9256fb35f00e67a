"""The HTTP part: Uvicorn serving the API on the sockets it was handed."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import uvicorn

from standalone.front import Front
from standalone.http_guard import GuardedProtocol
from standalone.parts import PART_DRAIN, Context
from standalone.wiring import build_front

KEEP_ALIVE_S = 75
MAX_CONNECTIONS = 2_000

SEEN_BY_BALANCER = timedelta(seconds=2)
"""How long requests are still taken after ``/readyz`` began to say no, if somebody asks it."""


async def run(context: Context) -> None:
    """Serve until asked to end; requests that were begun are answered."""
    await serve_front(build_front(context), context)


async def serve_front(front: Front, context: Context) -> None:
    """Serve the application on the part's sockets, like ``run``."""
    server = _Server(_configuration(front), context)
    await server.serve(sockets=[*context.listening["http"]])
    if front.tracking is not None:
        await front.tracking.finish()


def _configuration(front: Front) -> uvicorn.Config:
    return uvicorn.Config(
        front,
        http=GuardedProtocol,
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        # Which proxies to believe is the API's to decide: EDGEPOST_TRUSTED_PROXIES.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(PART_DRAIN.total_seconds()),
    )


class _Server(uvicorn.Server):
    """Uvicorn's server, ended by the part's own signal and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the part."""
        yield

    async def main_loop(self) -> None:
        """Keep the Date header fresh until the part has to end."""
        self._context.ready()
        while not self._context.stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._context.stop.wait(), 1.0)
        front: Front = self.config.app  # type: ignore[assignment]  # what _configuration gave it
        front.health.drain()
        if front.health.is_watched:
            await asyncio.sleep(SEEN_BY_BALANCER.total_seconds())
