"""One request of a webhook: its body and headers in the endpoint's dialect, signed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain.endpoint import Endpoint
from shared.domain.event_names import Dialect, event_name
from shared.domain.notice import Notice
from shared.domain.postal_signature import PostalSigner, new_private_key
from shared.domain.webhook_payload import webhook_body
from shared.domain.webhook_signature import signature_headers
from shared.flow.endpoints import headers_of, secrets_of
from shared.network import HTTPAnswer, HTTPOut
from shared.ports import Keyring
from shared.store.postal_key import PostalKey

USER_AGENTS = {Dialect.EDGEPOST: "Edgepost-Webhooks/1", Dialect.POSTAL: "Postal/3.3.6 Edgepost-Webhooks/1"}
"""Some receivers let in only what calls itself Postal."""


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that goes to the endpoint."""

    name: str
    """Of the event, in the endpoint's dialect."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes and sends requests."""

    http: HTTPOut
    keyring: Keyring
    postal_key: PostalKey

    async def make(self, notice: Notice, endpoint: Endpoint, *, now: datetime) -> Request | None:
        """Return the request, or None if the endpoint's dialect does not have the event."""
        name, body = event_name(notice.event.kind, endpoint.dialect), webhook_body(notice, endpoint.dialect)
        if name is None or body is None:
            return None
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENTS[endpoint.dialect]}
        headers |= headers_of(endpoint, self.keyring)
        headers |= signature_headers(secrets_of(endpoint, self.keyring, now), str(notice.event.id), now, body)
        if endpoint.dialect is Dialect.POSTAL:
            headers |= (await self.postal_signer()).headers(body)
        return Request(name, endpoint.url, headers, body)

    async def send(self, request: Request) -> HTTPAnswer:
        """Send it, once."""
        return await self.http.post(request.url, headers=request.headers, body=request.body)

    async def postal_signer(self) -> PostalSigner:
        """Return the signer of the installation, made at first use."""
        return await self.postal_key.signer(new_private_key)
