"""A sender whose DNS leads to one scriptable sink."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from shared.domain.job import ToMX
from smtp_node.deliver.limits import PoolLimits, Timeouts
from smtp_node.deliver.pool import Pool
from smtp_node.deliver.route import RouteRules
from smtp_node.deliver.send import Plan, Sender
from smtp_node.deliver.tls import TLSContexts
from tests.fakes.certificate import self_signed
from tests.fakes.mx import SinkMX
from tests.fakes.resolver import FakeResolver

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RAW = b"From: a@x.test\r\nSubject: token-1234\r\n\r\n.leading dot\r\nend\r\n"
LINE = b"x" * 998 + b"\r\n"
LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = Timeouts(connect_s=2, greeting_s=0.3, mail_s=0.3, rcpt_s=0.3, data_s=0.3, block_s=0.3, dot_s=0.3, quit_s=0.3)
PATIENT = Timeouts(quit_s=0.3)
ONE_BY_ONE = ("8BITMIME", "SMTPUTF8", "SIZE 52428800")
CONTEXTS = TLSContexts(self_signed()[0])
PLAN = Plan("a@x.test", "b@d.test", RAW, ToMX("d.test"), "me.test")


@asynccontextmanager
async def sending(
    mx: SinkMX, *others: str, limits: PoolLimits | None = None, timeouts: Timeouts = PATIENT, port: int = 0
) -> AsyncIterator[Sender]:
    """Give a sender whose DNS leads d.test to the sink, and to others of its addresses before it."""
    hosts = [*others, "127.0.0.1"]
    resolver = FakeResolver(
        mx={"d.test": [(number, f"mx{number}.d.test") for number in range(len(hosts))]},
        addresses={f"mx{number}.d.test": [address] for number, address in enumerate(hosts)}
        | {"mx.test": ["127.0.0.1"]},
    )
    sender = Sender(
        resolver=resolver,
        pool=Pool(CONTEXTS, timeouts=timeouts, limits=limits),
        rules=RouteRules(port or mx.port, allowed=LOOPBACK),
        rng=random.Random(0),
        now=lambda: NOW,
    )
    try:
        yield sender
    finally:
        await sender.close()


def ours() -> bool:
    """Answer for a claim that holds."""
    return True


async def outcome_of(
    plan: Plan = PLAN, still_ours: Callable[[], bool] = ours, timeouts: Timeouts = PATIENT, **sink: Any
) -> tuple[Any, SinkMX]:
    """Send one message to a sink that behaves as told."""
    async with SinkMX(**sink) as mx, sending(mx, timeouts=timeouts) as sender:
        return await sender.send(plan, still_ours=still_ours), mx
