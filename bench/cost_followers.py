"""What follows a delivered letter, metered like it: opens, clicks, and the endpoints that are told of it.

The real functions again.  Two things are modelled: an endpoint answers after ``ANSWER_S``
(Lambda is paid while it waits), and the frames around what leaves AWS.
"""

import asyncio
import base64
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cost_workload import Scenario, Workload
from metering import HEAD_BYTES, Use
from tests.fakes.http import listening
from tests.fakes.visits import visit

OPEN, CLICK, WEBHOOK = "open", "click", "webhook"
ENDPOINTS = 5
A_LETTER: Mapping[str, float] = {OPEN: 0.4, CLICK: 0.05, WEBHOOK: ENDPOINTS}
"""How many of each follow a letter, in the workload that all figures use."""

TRACK_HOST = "track.example.test"
TARGET = "https://shop.example.com/orders/8842917/track?utm_source=mail&utm_campaign=shipped"
EDGE_MEMORY_MB = 256
"""As template.yaml has it."""

ANSWER_S = 0.1
"""An endpoint's time to answer."""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
FRAMES_BYTES = 200
"""Around a request on an open connection: its TLS record, and the packets' heads."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What so many of one kind have used."""

    count: int
    used: Mapping[Use, float]
    log_bytes: float
    stored: Mapping[str, float]
    """Bytes for each of them, by kind of item."""


async def hits(made: Workload, kind: str, scenario: Scenario) -> Followed:
    """Open each letter of the scenario once, or click its link; record it in runs as full as those of deliveries."""
    from functions.edge import wiring
    from shared.adapters.token_keys import open_token_keys
    from shared.flow.token_keys import ensure_keys
    from shared.tokens import Named, Tokens

    keys = await asyncio.to_thread(ensure_keys, open_token_keys(made.settings, caller="cli"), os.urandom)
    tokens = Tokens(keys)
    function, status = ("pixel", 200) if kind == OPEN else ("redirect", 307)
    wiring.services.cache_clear()  # what a process reads once a minute, it reads once here
    made.meter.reset()
    logged, before, recorded = made.logs.bytes, made.meter.stored(), 0
    letters = made.delivered[-scenario.letters :]
    for number, (server_id, message_id) in enumerate(letters):
        began = time.monotonic()
        token = tokens.make(kind, TRACK_HOST, Named(server_id, message_id, TARGET if kind == CLICK else ""))
        request = visit(f"/{kind[0]}/{token}", host=TRACK_HOST, ip=f"192.0.2.{number % 250}")
        answer = await made.run(function, EDGE_MEMORY_MB, request)
        if answer["statusCode"] != status:
            raise RuntimeError(f"{function} answered {answer}")
        body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"]
        sent = sum(len(name) + len(value) + 4 for name, value in answer["headers"].items()) + len(body)
        made.meter.add("edge", "egress_byte", function, sent + HEAD_BYTES)
        if scenario.batch == 1:
            recorded += await made.record(1)
            await asyncio.sleep(max(0.0, began + scenario.pace_s - time.monotonic()))
    recorded += await made.record(scenario.batch)
    if recorded != len(letters):
        raise RuntimeError(f"{recorded} of {len(letters)} hits were recorded")
    return Followed(recorded, dict(made.meter.used), made.logs.bytes - logged, _more(made, before, recorded))


async def webhooks(made: Workload, scenario: Scenario, alone: Mapping[Use, float], log_bytes: int) -> Followed:
    """Send the scenario's letters again, now with five endpoints that are told of each delivery.

    Args:
        made: the installation; its endpoints stay.
        scenario: as it was run without endpoints.
        alone: what that run used; the events function is charged with what it uses beyond it.
        log_bytes: what that run logged.
    """

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(ANSWER_S)
        writer.write(ANSWER)

    async with listening(answer) as listener:
        await _subscribe(made, listener.url("/edgepost/events"))
        await made.go(replace(scenario, letters=10, pace_s=0))
        await made.notify(scenario.parcels)  # what is read once, at the start
        listener.requests.clear()
        made.meter.reset()
        logged, before = made.logs.bytes, made.meter.stored()
        await made.go(scenario)
        await made.notify(scenario.parcels)
        sent = listener.requests
        if len(sent) != ENDPOINTS * scenario.letters:
            raise RuntimeError(f"{len(sent)} webhooks for {scenario.letters} letters")
        made.meter.add("webhooks", "egress_byte", "requests", sum(map(len, sent)) + FRAMES_BYTES * len(sent))
    beyond = {
        use: amount - (alone.get(use, 0) if use.caller == "events" else 0)
        for use, amount in made.meter.used.items()
        if use.caller in {"events", "webhooks"}
    }
    # Times vary by more than what endpoints add to them.
    used = {use: amount for use, amount in beyond.items() if amount > 0}
    more = _more(made, before, len(sent))
    kept = {"webhook attempts": more.get("webhook attempts", 0)}
    return Followed(len(sent), used, made.logs.bytes - logged - log_bytes, kept)


async def _subscribe(made: Workload, url: str) -> None:
    from shared.adapters.clock import utc_now
    from shared.domain.ids import ServerId
    from shared.flow.endpoints import NewEndpoint, create_endpoint
    from shared.store.directory import Directory

    records = made.stores.records
    tenant = await Directory(records, clock=utc_now).tenant(ServerId(made.delivered[0][0]))
    for _ in range(ENDPOINTS):
        await create_endpoint(
            NewEndpoint(url=url, events=["MessageDelivered"]),
            server=tenant.server,
            records=records,
            keyring=made.stores.keyring,
            allowed=made.settings.allow_networks.http,
            rng=random.SystemRandom(),
            now=utc_now(),
        )


def _more(made: Workload, before: Counter[str], count: int) -> Mapping[str, float]:
    return {kind: size / count for kind, size in (made.meter.stored() - before).items() if kind != "other"}
