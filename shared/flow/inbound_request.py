"""One request to an HTTP endpoint of a route: the mail in its form, signed in three ways."""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import datetime

from shared.domain.event_names import Dialect
from shared.domain.inbound_payload import CONTENT_TYPES, inbound_body
from shared.domain.message import Message
from shared.domain.postal_signature import new_private_key
from shared.domain.routes import HTTPTarget, Route
from shared.domain.webhook_signature import signature_headers
from shared.flow.route_secrets import authorization, route_secrets
from shared.flow.webhook_request import USER_AGENTS
from shared.network import HTTPAnswer, HTTPOut
from shared.ports import Keyring
from shared.store.postal_key import PostalKey

OFF_LOOP_BYTES = 16_384
"""Larger mail is taken apart in a thread."""

_NAMESPACE = uuid.UUID("3f6e9c2a-8d10-5b7e-9a44-1c2f0d7be6a5")


@dataclass(frozen=True, slots=True)
class InboundRequests:
    """Makes and sends requests."""

    http: HTTPOut
    keyring: Keyring
    postal_key: PostalKey

    async def send(
        self, message: Message, raw: bytes, target: HTTPTarget, route: Route, *, now: datetime
    ) -> HTTPAnswer:
        """Send the mail to the endpoint, once.

        Raises:
            InvalidValue: the route's secret or login does not open under this master key.
        """
        if len(raw) > OFF_LOOP_BYTES:
            body = await asyncio.to_thread(inbound_body, message, raw, target)
        else:
            body = inbound_body(message, raw, target)
        headers = {"Content-Type": CONTENT_TYPES[target.encoding], "User-Agent": USER_AGENTS[Dialect.POSTAL]}
        headers |= authorization(route, target.url, self.keyring)
        headers |= signature_headers(route_secrets(route, self.keyring, now), request_id(message), now, body)
        headers |= (await self.postal_key.signer(new_private_key)).headers(body)
        return await self.http.post(target.url, headers=headers, body=body, timeout_s=target.timeout_s)


def request_id(message: Message) -> str:
    """Return the ``webhook-id``: the same on every attempt, so that a receiver knows what it has."""
    return str(uuid.uuid5(_NAMESPACE, f"{message.server_id}:{message.id}"))
