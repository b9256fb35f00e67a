"""Incoming mail and its route on every backend: what is written is read, and one attempt is one claim."""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.ids import OrganizationId, ServerId, draw_ids
from shared.domain.inspection import NO_RULING, Inspection, Ruling
from shared.domain.job import TLSMode
from shared.domain.message import Direction, Message, Origin, SpamStatus, Via
from shared.domain.routes import (
    AddressTarget,
    Encoding,
    HTTPTarget,
    PayloadFormat,
    Route,
    RouteMode,
    SMTPTarget,
    Target,
)
from shared.domain.tenancy import Mode, Server, Shards
from shared.store.message_items import ruling_item
from shared.store.messages import Messages
from shared.store.reservations import Reservation, Reservations
from shared.store.routes import Routes
from shared.store.servers import server_puts
from tests.contract.conftest import World

TARGETS: list[Target] = [
    HTTPTarget("https://app.example.com/"),
    HTTPTarget("https://b.test/", Encoding.FORM, PayloadFormat.RAW, attachments=False, strip_replies=True),
    SMTPTarget("2001:db8::1", 2525, TLSMode.NONE),
    AddressTarget("ann@elsewhere.test"),
]


def server_at(world: World) -> Server:
    """Return a server of this world."""
    began = world.clock()
    shards = (Shards(began - timedelta(days=1), 1),)
    return Server(ServerId(7), OrganizationId(1), "s", "s", "abcdef", Mode.LIVE, created_at=began, shards=shards)


class TestIncoming:
    @pytest.mark.parametrize("target", [*TARGETS, None])
    async def test_one_claim_of_what_was_written(self, world: World, target: Target | None) -> None:
        """Two consumers at once: one of them acts, and it sees the whole record."""
        server, messages = server_at(world), Messages(world.records)
        now = world.clock()
        message = Message(
            server_id=server.id,
            id=draw_ids(now, 1, random.Random(1))[0],
            token="abcdefghijklmnop",
            direction=Direction.INCOMING,
            rcpt_to="support@example.test",
            mail_from="",
            subject="Help",
            message_id="q@sender.test",
            body_key="7/1",
            size_bytes=3,
            origin=Origin(Via.ESMTP),
            route="support@example.test",
            endpoint=target,
            sender_verified=True,
            inspected=True,
            spam_status=SpamStatus.SPAM,
            spam_score=-12.34,
            threat="Eicar",
        )
        assert await messages.add(server, message, expires_at=now + timedelta(days=1))

        def claim(direction: Direction) -> Awaitable[Message | None]:
            until = now + timedelta(seconds=30)
            return messages.claim(server, message.id, attempt=1, now=now, lease_until=until, direction=direction)

        found = await asyncio.gather(claim(Direction.INCOMING), claim(Direction.INCOMING), claim(Direction.OUTGOING))

        assert await messages.get(server, message.id) is not None
        [claimed] = [each for each in found if each is not None]
        assert (claimed.endpoint, claimed.route, claimed.sender_verified) == (target, message.route, True)
        assert (claimed.inspected, claimed.spam_status, claimed.spam_score, claimed.threat) == (
            True,
            SpamStatus.SPAM,
            -12.34,
            "Eicar",
        )


class TestRoutes:
    async def test_is_found_by_what_it_took_and_has_the_last_secret(self, world: World) -> None:
        """One that is gone is not made again by whoever still holds it; of two secrets at once one counts."""
        server, routes = server_at(world), Routes(world.records)
        await world.records.atomically(server_puts(server))
        route = Route(
            server.id, "support", "example.test", "abcd2345", RouteMode.ENDPOINT, world.clock(), targets=TARGETS
        )
        assert await routes.add(route)

        until = world.clock() + timedelta(days=1)
        rotated = [await routes.rotate(route, wrapped, previous_until=until) for wrapped in ("wrapped", "second")]
        changed = await routes.change(replace(route, mode=RouteMode.HOLD, targets=(), logins="logins"))
        stored = await routes.get(server.id, "example.test", "support")

        assert [each and each.secret for each in rotated] == ["wrapped", None]
        assert rotated[0] is not None
        assert list(rotated[0].targets) == TARGETS
        assert (rotated[0].previous_secret, rotated[0].previous_until) == ("", until)
        assert stored == changed == replace(rotated[0], mode=RouteMode.HOLD, targets=(), logins="logins", version=1)
        await routes.remove(route)
        assert await routes.rotate(route, "other", previous_until=until) is None
        assert await routes.change(route) is None
        assert await routes.get(server.id, "example.test", "support") is None


class TestRuling:
    @pytest.mark.parametrize(
        "ruling",
        [
            NO_RULING,
            Ruling(Inspection(-0.29, threat=""), SpamStatus.NOT_SPAM),
            Ruling(Inspection(20.5), SpamStatus.SPAM, "Too much."),
            Ruling(Inspection(threat="Eicar"), failure="A threat."),
        ],
    )
    async def test_is_reserved_with_the_ids(self, world: World, ruling: Ruling) -> None:
        """A repeated mail is ruled as it was the first time, whatever scanners say by then."""
        server, reservations = server_at(world), Reservations(world.records)
        reserved = Reservation(
            digest="d",
            message_id="q@sender.test",
            body_key="7/1",
            recipients=["support@example.test"],
            ids=draw_ids(world.clock(), 1, random.Random(1)),
            tokens=["abcdefghijklmnop"],
            at=world.clock(),
            ruling=ruling,
        )

        assert await reservations.put(server.id, "key", reserved)

        found = await reservations.get(server.id, "key")
        assert found is not None
        assert found.ruling == ruling

    async def test_is_settled_with_the_attempt(self, world: World) -> None:
        """What a scan said is there at the next attempt; a score of zero too, which is stored by being left out."""
        server, messages, now = server_at(world), Messages(world.records), world.clock()
        message = Message(
            server_id=server.id,
            id=draw_ids(now, 1, random.Random(2))[0],
            token="abcdefghijklmnop",
            direction=Direction.OUTGOING,
            rcpt_to="user@dest.test",
            mail_from="app@example.test",
            subject="Hello",
            message_id="one@example.test",
            body_key="7/2",
            size_bytes=3,
            origin=Origin(Via.HTTP),
        )
        assert await messages.add(server, message, expires_at=now + timedelta(days=1))
        claimed = await messages.claim(server, message.id, attempt=1, now=now, lease_until=now + timedelta(seconds=30))
        assert claimed is not None
        ruling = Ruling(Inspection(0.0, threat=""), SpamStatus.NOT_SPAM)

        settled = await messages.settle(server, claimed, {"attempt": 2, **ruling_item(ruling)})

        assert settled is not None
        assert settled == await messages.get(server, message.id)
        assert (settled.inspected, settled.spam_status, settled.spam_score, settled.threat) == (
            True,
            SpamStatus.NOT_SPAM,
            0.0,
            "",
        )
