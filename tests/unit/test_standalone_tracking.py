"""Tracking hosts on the one HTTP port: who is served what, and what becomes of hits."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import httpx

from functions.edge.hits import Hit
from shared.domain.event import Event
from shared.domain.tenancy import Scope
from shared.flow.servers import suspend_server
from shared.flow.token_keys import TokenSource, rotate_keys
from shared.flow.track_domains import NewTrackDomain, add_track_domain
from shared.settings import Settings
from shared.store.suspended import Suspended
from shared.store.track_domains import TrackDomains
from shared.telemetry import NullMeter
from shared.tokens import CLICK, OPEN, UNSUBSCRIBE, Named
from standalone.front import Front
from standalone.health import Health
from standalone.hit_queue import MOST_WAITING, HitQueue
from standalone.lambda_http import LambdaHTTP
from standalone.scrape import Sources
from standalone.tracking_front import TrackingFront
from standalone.tracking_hosts import TrackingHosts, host_name
from tests.fakes.flaky import Flaky
from tests.fakes.installation import Installation, install
from tests.fakes.token_keys import FakeTokenKeys
from tests.fakes.visits import FIREFOX, TARGET

SETTINGS = Settings(
    track_domain="track.host.test", public_url="https://mail.host.test", hostname="mx.host.test",
    trusted_proxies=(ip_network("10.0.0.0/8"),),
)  # fmt: skip
SHARED = "track.host.test"
CUSTOM = "track.example.test"
SEEN = {"user-agent": FIREFOX}


@dataclass(slots=True)
class World:
    """An installation, its HTTP application, and a client."""

    here: Installation
    records: Flaky
    queue: Flaky
    keys: FakeTokenKeys
    source: TokenSource
    hits: HitQueue
    front: Front
    seconds: list[float]

    async def ask(
        self, path: str, host: str = SHARED, method: str = "GET", *, peer: str = "192.0.2.7", **how: Any
    ) -> httpx.Response:
        """Send one request."""
        transport = httpx.ASGITransport(app=self.front, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://x.test") as client:
            headers = SEEN | {"host": host} | how.pop("headers", {})
            return await client.request(method, path, headers=headers, **how)

    async def path(self, kind: str = CLICK, host: str = SHARED, **named: Any) -> str:
        """Return the path of a token."""
        what = Named(self.here.server.id, 678901234567, TARGET if kind == CLICK else "")._replace(**named)
        tokens = await self.source.tokens()
        return f"/{kind[0]}/" + tokens.make(kind, host, what)

    async def events(self) -> list[Event]:
        """Return what was recorded by now."""
        await self.hits.finish(5)
        return [Event.from_json(body) for body in await self.here.take_events()]


async def api(scope: Any, receive: Any, send: Any) -> None:
    """Stand in for the API."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the API"})


async def open_world(settings: Settings = SETTINGS) -> World:
    """Return a fresh installation with one trusted tracking domain."""
    here = await install(settings)
    seconds = [1000.0]
    wanted = NewTrackDomain(name=CUSTOM, scope=Scope.ADMIN, trusted=True)
    await add_track_domain(wanted, server=here.server, records=here.records, settings=settings, now=here.clock())
    records, queue = Flaky(here.records), Flaky(here.events)
    keys = FakeTokenKeys()
    source = TokenSource(keys, clock=here.clock, random_bytes=random.Random(2).randbytes)
    hits = HitQueue(queue, NullMeter())  # type: ignore[arg-type]
    functions = LambdaHTTP(
        source=source,
        suspended=Suspended(records),
        hits=hits,
        clock=here.clock,
        trusted_proxies=settings.trusted_proxies,
        monotonic=lambda: seconds[0],
    )
    hosts = TrackingHosts(TrackDomains(records), settings, is_ours=functions.is_ours, monotonic=lambda: seconds[0])
    front = Front(
        api=api,
        health=Health(here.records, clock=here.clock),
        directory=here.directory,
        records=here.records,
        settings=settings,
        sources=Sources(settings.data_dir, {}),
        meter=NullMeter(),
        version="1",
        tracking=TrackingFront(hosts, functions, hits, settings.trusted_proxies),
    )
    return World(here, records, queue, keys, source, hits, front, seconds)


class TestHosts:
    async def test_a_tracking_host_serves_tokens_and_nothing_else(self) -> None:
        """No API, dashboard or health under a customer's name."""
        world = await open_world()
        for host in (SHARED, CUSTOM, "TRACK.example.test:443"):
            assert (await world.ask(await world.path(host=host_name(host)), host)).status_code == 307
            for path in ("/", "/api/v1/send/message", "/health", "/metrics", "/internal/tls-ask", "/o", "/o/x", "/C/x"):
                answer = await world.ask(path, host)
                assert (answer.status_code, answer.text) == (404, "Not found\n")

    async def test_other_hosts_never_serve_tokens(self) -> None:
        """Also not with a good token, and not with a header that a proxy of Postal's sets."""
        world = await open_world()
        path = await world.path()
        for host in ("mail.host.test", "mx.host.test", "localhost", "127.0.0.1", "[::1]", "unknown.test", ""):
            answer = await world.ask(path, host, headers={"x-postal-track-host": "1"})
            assert (answer.status_code, answer.text) == (200, "the API")

    async def test_one_name_may_serve_both_if_the_operator_says_so(self) -> None:
        """A small installation may have a single name."""
        world = await open_world(replace(SETTINGS, track_domain="mail.host.test"))

        assert (await world.ask(await world.path(host="mail.host.test"), "mail.host.test")).status_code == 307
        assert (await world.ask("/api/v1/x", "mail.host.test")).text == "the API"

    async def test_a_token_of_another_host_is_refused(self) -> None:
        """One tenant's link under another's name."""
        world = await open_world()

        assert (await world.ask(await world.path(host=CUSTOM), SHARED)).status_code == 404
        assert (await world.ask(await world.path(host=SHARED), CUSTOM)).status_code == 404
        assert await world.events() == []

    async def test_an_unverified_domain_serves_nothing(self) -> None:
        """Its owner has not agreed."""
        world = await open_world()
        wanted = NewTrackDomain(name="new.example.test", scope=Scope.ADMIN)
        here = world.here
        await add_track_domain(wanted, server=here.server, records=here.records, settings=SETTINGS, now=here.clock())

        assert (await world.ask(await world.path(host="new.example.test"), "new.example.test")).text == "the API"

    async def test_links_lead_on_while_the_storage_is_away(self) -> None:
        """The token itself says that the host is ours."""
        world = await open_world()
        path = await world.path(host=CUSTOM)
        world.records.failing = world.queue.failing = True

        assert (await world.ask(path, CUSTOM)).headers["location"] == TARGET
        assert (await world.ask("/c/forged", CUSTOM)).text == "the API"

        world.records.failing = world.queue.failing = False
        assert [event.kind.value for event in await world.events()] == ["clicked"]


class TestTLSAsk:
    async def ask(self, world: World, domain: str, peer: str = "127.0.0.1", **headers: str) -> int:
        """Ask as Caddy does."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/internal/tls-ask?domain={domain}"
        return (await world.ask(path, "localhost:8080", peer=peer, headers=named)).status_code

    async def test_allows_only_names_that_are_ours(self) -> None:
        """Whoever points a name here must not get us a certificate for it."""
        world = await open_world()
        for name in (CUSTOM, SHARED, "mail.host.test", "mx.host.test"):
            assert await self.ask(world, name) == 200
        for name in ("unknown.test", "new.example.test", "", "example.test", "x.track.example.test", "%00"):
            assert await self.ask(world, name) == 404

    async def test_answers_only_the_proxy_itself(self) -> None:
        """Through the proxy anybody could ask who our customers are."""
        world = await open_world()

        assert await self.ask(world, CUSTOM, peer="10.0.0.1") == 200
        assert await self.ask(world, CUSTOM, peer="10.0.0.1", x_forwarded_for="192.0.2.7") == 404
        assert await self.ask(world, CUSTOM, peer="192.0.2.7") == 404
        assert await self.ask(world, CUSTOM, x_forwarded_for="192.0.2.7") == 404

    async def test_not_knowing_is_temporary(self) -> None:
        """Caddy asks again."""
        world = await open_world()
        world.records.failing = True

        assert await self.ask(world, CUSTOM) == 503


class TestHits:
    async def test_are_recorded_after_the_answer(self) -> None:
        """With the address that a trusted proxy saw."""
        world = await open_world()
        forwarded = {"x-forwarded-for": "203.0.113.9, 198.51.100.4"}
        await world.ask(await world.path(OPEN), peer="10.0.0.1", headers=forwarded)
        await world.ask(await world.path(), peer="192.0.2.7", headers=forwarded)

        assert [event.data["ip"] for event in await world.events()] == ["198.51.100.4", "192.0.2.7"]

    async def test_an_unsubscription_is_kept_before_it_is_promised(self) -> None:
        """And refused while it cannot be."""
        world = await open_world()
        path = await world.path(UNSUBSCRIBE)
        form = {"data": {"List-Unsubscribe": "One-Click"}}
        world.queue.failing = True
        assert (await world.ask(path, method="POST", **form)).status_code == 503

        world.queue.failing = False
        assert (await world.ask(path)).status_code == 200
        assert world.here.events.sent == 0
        assert (await world.ask(path, method="POST", **form)).status_code == 200
        assert [event.kind.value for event in await world.events()] == ["unsubscribed"]

    async def test_a_large_form_is_cut(self) -> None:
        """Memory is not a visitor's to use."""
        world = await open_world()
        body = b"x" * 5_000_000 + b"&List-Unsubscribe=One-Click"

        assert (await world.ask(await world.path(UNSUBSCRIBE), method="POST", content=body)).status_code == 400

    async def test_too_many_that_wait_are_dropped_and_nothing_grows(self) -> None:
        """While the queue is away memory stays bounded."""
        world = await open_world()
        world.queue.failing = True
        await world.ask(await world.path(OPEN))
        for _ in range(MOST_WAITING + 50):
            world.hits.add(Hit(1, "{}"))

        assert len(world.hits._waiting) <= MOST_WAITING


class TestSuspended:
    async def test_counts_within_a_minute(self) -> None:
        """And is asked for once a minute, not for each hit."""
        world = await open_world()
        assert (await world.ask(await world.path())).status_code == 307
        await suspend_server(
            "main", "phishing", records=world.here.records, events=world.here.events, now=world.here.clock()
        )
        assert (await world.ask(await world.path())).status_code == 307

        world.seconds[0] += 61

        assert (await world.ask(await world.path())).status_code == 410


class TestKeys:
    async def test_a_new_key_is_taken_up(self) -> None:
        """Another process rotated; its links work here without a restart."""
        world = await open_world()
        await world.ask(await world.path())
        rotate_keys(world.keys, random.Random(5).randbytes)
        other = TokenSource(world.keys, clock=world.here.clock, random_bytes=random.Random(6).randbytes)
        token = (await other.tokens()).make(CLICK, SHARED, Named(world.here.server.id, 5, TARGET))

        world.here.clock.advance(timedelta(seconds=11))

        assert (await world.ask(f"/c/{token}")).status_code == 307

    async def test_a_damaged_file_is_temporary_for_visitors(self) -> None:
        """503, and nobody makes new keys in place of lost ones."""
        world = await open_world()
        path = await world.path()
        world.keys.text = "nonsense"
        world.here.clock.advance(timedelta(minutes=5))

        assert (await world.ask(path)).status_code == 503
        assert world.keys.text == "nonsense"


async def test_finish_waits_for_what_is_written() -> None:
    """A restart loses nothing that was seen."""
    world = await open_world()
    await asyncio.gather(*[world.ask(await world.path(OPEN, message_id=each + 1)) for each in range(50)])
    assert world.front.tracking is not None
    await world.front.tracking.finish()

    assert len(await world.here.take_events()) == 50
