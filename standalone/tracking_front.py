"""Tracking hosts on the one HTTP port, and the question that the reverse proxy asks about certificates."""

from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

from fastapi.datastructures import Headers
from fastapi.responses import PlainTextResponse, Response

from shared.domain.errors import StorageUnavailable
from shared.settings import Network
from standalone.hit_queue import HitQueue
from standalone.lambda_http import LambdaHTTP
from standalone.tracking_hosts import TrackingHosts, host_name

TLS_ASK = "/internal/tls-ask"

FINISH_S = 5.0
"""How long the end of the part may wait for hits that are not written yet."""


@dataclass(frozen=True, slots=True)
class TrackingFront:
    """What stands before everything else in the HTTP part.

    Args:
        hosts: tell which requests are for tracking.
        functions: answer them.
        hits: what is still to be written.
        trusted_proxies: whose question about certificates is answered, besides programs of this machine.
    """

    hosts: TrackingHosts
    functions: LambdaHTTP
    hits: HitQueue
    trusted_proxies: tuple[Network, ...] = ()

    async def serves(self, scope: Any) -> bool:  # noqa: ANN401  # as ASGI leaves it
        """Tell whether a request is for a tracking host: then nobody else may answer it."""
        return await self.hosts.serves(host_name(Headers(scope=scope).get("host", "")), scope["path"])

    async def tls_ask(self, scope: Any) -> Response:  # noqa: ANN401
        """Answer Caddy's on-demand TLS: 200 if it may get a certificate for ``?domain=``, else 404.

        Only the proxy itself is answered: through it anybody could ask who our customers are.
        """
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._is_proxy(peer) or "x-forwarded-for" in Headers(scope=scope):
            return _said(HTTPStatus.NOT_FOUND)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=10)
        try:
            known = await self.hosts.may_have_certificate(host_name(query.get("domain", [""])[0]))
        except StorageUnavailable:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE)
        return _said(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND)

    async def finish(self) -> None:
        """Write what was seen and is not written yet."""
        await self.hits.finish(FINISH_S)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return address.is_loopback or any(
            address.version == network.version and address in network for network in self.trusted_proxies
        )


def _said(status: HTTPStatus) -> Response:
    return PlainTextResponse(f"{status.phrase}\n", status, headers={"cache-control": "no-store"})
