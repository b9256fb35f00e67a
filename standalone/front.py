"""What stands before the API in the HTTP part: links, health, readiness and figures; all else is the API's."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi.datastructures import Headers
from fastapi.responses import PlainTextResponse, Response

from shared.domain.errors import StorageUnavailable
from shared.domain.ids import ServerId
from shared.domain.tenancy import CredentialType
from shared.flow.operators import may_read_metrics
from shared.ports import Records
from shared.settings import Settings
from shared.store.directory import Directory
from shared.telemetry import Meter
from standalone.health import Health
from standalone.scrape import CONTENT_TYPE, Sources, scrape
from standalone.tracking_front import TLS_ASK, TrackingFront

# Any: the ASGI specification leaves the values of these to each kind of message.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

AREAS = {"/api/v1/": "v1", "/api/v2/": "v2"}

MAX_TOKEN = 200
"""Longer ones are nobody's; none of ours is half as long."""


@dataclass(frozen=True, slots=True)
class Front:
    """The ASGI application that Uvicorn serves."""

    api: ASGIApp
    health: Health
    directory: Directory
    records: Records
    settings: Settings
    sources: Sources
    meter: Meter
    version: str
    tracking: TrackingFront | None = None
    """None on a node that serves no links."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on the lifespan."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        if self.tracking is not None:
            if await self.tracking.serves(scope):
                await self._measured(self.tracking.functions, "tracking", scope, receive, send)
                return
            if scope["path"] == TLS_ASK:
                await (await self.tracking.tls_ask(scope))(scope, receive, send)
                return
        own: dict[str, Callable[[Headers], Awaitable[Response]]] = {
            "/health": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
        }
        answer = own.get(scope["path"])
        if answer is None:
            area = next((name for prefix, name in AREAS.items() if scope["path"].startswith(prefix)), "other")
            await self._measured(self.api, area, scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await (await answer(Headers(scope=scope)))(scope, receive, send)
        else:
            # RFC 9110 §15.5.6: 405 names what is allowed.
            await _text(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")(scope, receive, send)

    async def _health(self, _: Headers) -> Response:
        healthy = await self.health.is_healthy()
        if healthy:
            return PlainTextResponse("OK", headers={"x-edgepost-version": self.version, "cache-control": "no-store"})
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, x_edgepost_version=self.version)

    async def _readiness(self, _: Headers) -> Response:
        return _text(HTTPStatus.OK if self.health.is_ready() else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _metrics(self, headers: Headers) -> Response:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:
            return _unauthorized()
        try:
            if await may_read_metrics(token, settings=self.settings, records=self.records):
                return Response(await scrape(self.sources), media_type=CONTENT_TYPE)
            found = await self.directory.by_key(CredentialType.API, token)
        except StorageUnavailable:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, retry_after="5")
        if found is None:
            return _unauthorized()
        server = ServerId(found[0].server.id)
        return Response(await scrape(self.sources, server=server), media_type=CONTENT_TYPE)

    async def _measured(self, app: ASGIApp, area: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Let an application answer, and note how long it took and with which class of status."""
        began = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noting)
        finally:
            self.meter.count("edgepost_http_requests_total", area=area, status=f"{status // 100}xx")
            self.meter.observe("edgepost_http_request_seconds", time.perf_counter() - began, area=area)


async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404: the application of a node, whose API runs elsewhere.  It needs no lifespan."""
    if scope["type"] == "http":
        await _text(HTTPStatus.NOT_FOUND)(scope, receive, send)


def _text(status: HTTPStatus, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = "OK" if status is HTTPStatus.OK else status.phrase
    return PlainTextResponse(body, status, headers={"cache-control": "no-store", **named})


def _unauthorized() -> Response:
    # RFC 6750 §3
    return _text(HTTPStatus.UNAUTHORIZED, www_authenticate='Bearer realm="Edgepost metrics"')
