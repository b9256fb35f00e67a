"""A made-up mail for a route's HTTP endpoints, sent now, once: what an endpoint is tried with before mail comes."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from shared.domain.errors import InvalidValue
from shared.domain.ids import draw_ids, draw_token
from shared.domain.message import Direction, Message, Origin, Via
from shared.domain.routes import HTTPTarget, Route
from shared.flow.inbound_request import InboundRequests
from shared.network import HTTPAnswer

SENDER = "sender@example.net"
SUBJECT = "Test of your route"


@dataclass(frozen=True, slots=True)
class Tried:
    """What one endpoint said."""

    url: str
    answer: HTTPAnswer


async def try_route(route: Route, *, requests: InboundRequests, rng: random.Random, now: datetime) -> Sequence[Tried]:
    """Send a made-up mail to each HTTP endpoint and return the answers; nothing is stored, retried or noted.

    Raises:
        InvalidValue: the route has no HTTP endpoint, or its secrets do not open under this master key.
    """
    targets = [each for each in route.targets if isinstance(each, HTTPTarget)]
    if not targets:
        raise InvalidValue(f"{route.address} has no HTTP endpoint: send it a mail to try it")
    raw = _raw(route, now)
    message = _message(route, raw, rng, now)
    answers = await asyncio.gather(*(requests.send(message, raw, each, route, now=now) for each in targets))
    return [Tried(target.url, answer) for target, answer in zip(targets, answers, strict=True)]


def _message(route: Route, raw: bytes, rng: random.Random, now: datetime) -> Message:
    return Message(
        server_id=route.server_id,
        id=draw_ids(now, 1, rng)[0],
        token=draw_token(rng),
        direction=Direction.INCOMING,
        rcpt_to=_recipient(route),
        mail_from=SENDER,
        subject=SUBJECT,
        message_id=f"test-{now:%Y%m%d%H%M%S}@example.net",
        body_key="",
        size_bytes=len(raw),
        origin=Origin(Via.ESMTPS, "192.0.2.1", helo="mail.example.net"),
        domain=route.domain,
        route=route.address,
    )


def _raw(route: Route, now: datetime) -> bytes:
    fields = [
        f"From: Edgepost <{SENDER}>",
        f"To: {_recipient(route)}",
        f"Subject: {SUBJECT}",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <test-{now:%Y%m%d%H%M%S}@example.net>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    ]
    return "\r\n".join([*fields, "", "This mail was made up to try your endpoint.", ""]).encode()


def _recipient(route: Route) -> str:
    """Return an address that the route takes."""
    name = route.name if route.name.isascii() and route.name[0].isalnum() else "test"
    return f"{name}@{route.domain or 'example.com'}"
