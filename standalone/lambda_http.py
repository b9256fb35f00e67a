"""Serves pixel, redirect and unsubscribe: an HTTP request becomes a function URL's event, as on AWS."""

import base64
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fastapi.datastructures import Headers
from fastapi.responses import Response

from functions.api.client_address import client_address
from functions.edge import reply
from functions.edge.door import Answer, Services
from functions.edge.hits import Cap, Hit
from functions.edge.request import MAX_BODY_BYTES
from functions.pixel.handler import answer as pixel
from functions.redirect.handler import answer as redirect
from functions.unsubscribe.handler import answer as unsubscribe
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.domain.tracking import PATHS
from shared.flow.token_keys import TokenSource
from shared.ports import Clock
from shared.settings import Network
from shared.store.suspended import Suspended
from shared.tokens import Tokens, key_id_of
from standalone.hit_queue import HitQueue
from standalone.lambda_events import function_url_event

log = logging.getLogger(__name__)

Function: TypeAlias = Callable[[dict[str, Any], Services], Answer]

FUNCTIONS: Mapping[str, Function] = {
    PATHS["open"]: pixel,
    PATHS["click"]: redirect,
    PATHS["unsubscribe"]: unsubscribe,
}

SUSPENDED_READ_AGAIN_S = 60.0


class LambdaHTTP:
    """The ASGI application of tracking hosts.

    Args:
        source: of the tokens.
        suspended: the list of suspended servers.
        hits: takes what was seen.
        clock: the time.
        trusted_proxies: whose X-Forwarded-For counts.
        monotonic: seconds.
    """

    def __init__(
        self,
        *,
        source: TokenSource,
        suspended: Suspended,
        hits: HitQueue,
        clock: Clock,
        trusted_proxies: tuple[Network, ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._suspended = suspended
        self._hits = hits
        self._clock = clock
        self._trusted_proxies = trusted_proxies
        self._monotonic = monotonic
        self._cap = Cap(monotonic)
        self._suspended_ids: frozenset[int] = frozenset()
        self._suspended_read_at = float("-inf")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # as ASGI leaves them
        """Answer one request; the hit is written after it, but an unsubscription before."""
        function = FUNCTIONS.get(scope["path"][:3])
        if function is None:
            await _send(reply.not_found(), scope, receive, send)
            return
        event = await self._event(scope, receive)
        answer = function(event, await self._services(scope["path"]))
        if answer.hit is not None and answer.record_first:
            await _send(await self._recorded(answer, answer.hit), scope, receive, send)
            return
        await _send(answer.response, scope, receive, send)
        if answer.hit is not None:
            self._hits.add(answer.hit)

    async def is_ours(self, host: str, path: str) -> bool:
        """Tell whether a path is a token that we made for the host."""
        tokens = await self._tokens(path)
        kind = next((kind for kind, prefix in PATHS.items() if path.startswith(prefix)), "")
        return tokens is not None and bool(kind) and tokens.read(kind, host, path[3:]) is not None

    async def _event(self, scope: Any, receive: Any) -> dict[str, Any]:  # noqa: ANN401
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        body = b""
        more = scope["method"] == "POST"
        while more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return function_url_event(
            scope["method"],
            scope.get("raw_path", b"").decode("latin-1") or scope["path"],
            scope.get("query_string", b"").decode("latin-1"),
            {name: ",".join(headers.getlist(name)) for name in headers.keys()},  # noqa: SIM118  # a multi-dict
            body[:MAX_BODY_BYTES],
            source_ip=client_address(peer, headers.getlist("x-forwarded-for"), self._trusted_proxies),
            at=self._clock(),
        )

    async def _services(self, path: str) -> Services:
        tokens = await self._tokens(path)
        if tokens is not None:
            await self._read_suspended()
        return Services(
            tokens=lambda _: tokens,
            suspended=lambda: self._suspended_ids,
            record=_never,
            cap=self._cap,
            now=lambda: self._clock().timestamp(),
        )

    async def _tokens(self, path: str) -> Tokens | None:
        try:
            return await self._source.tokens(key_id_of(path[3:]))
        except (InvalidValue, StorageUnavailable):
            log.exception("token_keys_unreadable")
            return None

    async def _read_suspended(self) -> None:
        if self._monotonic() - self._suspended_read_at < SUSPENDED_READ_AGAIN_S:
            return
        self._suspended_read_at = self._monotonic()
        try:
            self._suspended_ids = await self._suspended.all()
        except StorageUnavailable:
            # The list of a minute ago is better than a link that leads nowhere.
            log.warning("suspended_servers_unreadable", exc_info=True)

    async def _recorded(self, answer: Answer, hit: Hit) -> reply.Response:
        try:
            await self._hits.write(hit)
        except StorageUnavailable:
            log.warning("hit_not_recorded", exc_info=True)
            return reply.unavailable()
        return answer.response


def _never(hit: Hit) -> None:
    """Stand in for ``Services.record``: here hits are recorded after the answer."""
    raise AssertionError(hit.server_id)


async def _send(made: reply.Response, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    body = base64.b64decode(made["body"]) if made["isBase64Encoded"] else made["body"].encode()
    await Response(body, made["statusCode"], headers=made["headers"])(scope, receive, send)
