"""The HTTP part: health, figures and the API behind them, on connections that may not take for ever."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.domain.credentials import key_hash
from shared.domain.errors import StorageUnavailable
from shared.flow.initialize import FirstRun, initialize
from shared.ports import Put
from shared.settings import Settings
from shared.store.directory import Directory
from shared.telemetry import NullMeter
from standalone import http, http_guard
from standalone.front import Front
from standalone.health import GOOD_FOR_S, Health
from standalone.parts import Context
from standalone.scrape import Sources
from tests.fakes.records import FakeRecords

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def clock() -> datetime:
    """It is always noon."""
    return NOW


class PlainKeyring:
    """A keyring without a lock."""

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return it in hex."""
        return secret.hex()

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return it."""
        return bytes.fromhex(wrapped)


class MemoryFile:
    """First secrets in memory."""

    content: str | None = None

    def read(self) -> str | None:
        """Return what was written."""
        return self.content

    def write(self, content: str) -> None:
        """Keep it."""
        self.content = content


class Notes(NullMeter):
    """Remembers counts."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Remember it."""
        self.counted.append((name, labels))


class Monotonic:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def api(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything with its length; stands for the API."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    length = 0
    while (message := await receive()).get("more_body"):
        length += len(message["body"])
    text = str(length + len(message["body"])).encode()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
def records() -> FakeRecords:
    """Return an empty store."""
    return FakeRecords(clock)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the defaults, in a directory of the test."""
    return Settings.from_env({"EDGEPOST_DATA_DIR": str(tmp_path), "EDGEPOST_DKIM_ALGORITHMS": "ed25519"})


@pytest.fixture
async def first(records: FakeRecords, settings: Settings) -> FirstRun:
    """Return an initialized installation."""
    rng = random.Random(1)
    return await initialize(
        records=records, keyring=PlainKeyring(), settings=settings, file=MemoryFile(), rng=rng, now=NOW
    )


@pytest.fixture
def front(records: FakeRecords, settings: Settings, tmp_path: Path) -> Front:
    """Return the application on fakes."""
    (tmp_path / "metrics").mkdir()
    return Front(
        api=api,
        health=Health(records, clock=clock),
        directory=Directory(records, clock=clock),
        records=records,
        settings=settings,
        sources=Sources(tmp_path, {}),
        meter=Notes(),
        version="1.2.3",
    )


@pytest.fixture
async def client(front: Front) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the application, without sockets."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://edgepost") as made:
        yield made


class TestHealth:
    async def test_says_ok_and_its_version(self, client: httpx.AsyncClient) -> None:
        """Monitors look for the word, operators for the version."""
        answer = await client.get("/health")

        assert (answer.status_code, answer.text, answer.headers["x-edgepost-version"]) == (200, "OK", "1.2.3")

    async def test_store_that_does_not_answer_is_503(self, records: FakeRecords) -> None:
        """A process that cannot store anything cannot do its work, however alive it is."""
        broken = BrokenRecords(clock)

        assert not await Health(broken, clock=clock).is_healthy()

    async def test_pollers_do_not_load_the_store(self, records: FakeRecords) -> None:
        """Ten balancers that ask each second must cost as much as one."""
        counting, monotonic = CountingRecords(clock), Monotonic()
        health = Health(counting, clock=clock, monotonic=monotonic)

        await asyncio.gather(*(health.is_healthy() for _ in range(20)))
        monotonic.now += GOOD_FOR_S
        await health.is_healthy()

        assert counting.puts == 2

    async def test_recovers(self) -> None:
        """A disk that has room again is noticed without a restart."""
        broken, monotonic = BrokenRecords(clock), Monotonic()
        health = Health(broken, clock=clock, monotonic=monotonic)

        was = await health.is_healthy()
        broken.works = True
        monotonic.now += GOOD_FOR_S

        assert (was, await health.is_healthy()) == (False, True)

    async def test_readiness_ends_with_draining(self, client: httpx.AsyncClient, front: Front) -> None:
        """The balancer sends requests elsewhere before the door closes."""
        before = (await client.get("/readyz")).status_code
        front.health.drain()

        assert (before, (await client.get("/readyz")).status_code) == (200, 503)

    async def test_takes_head_and_no_other_method(self, client: httpx.AsyncClient) -> None:
        """Some monitors ask for the head only."""
        head, post = await client.head("/health"), await client.post("/health")

        assert (head.status_code, post.status_code, post.headers["allow"]) == (200, 405, "GET, HEAD")


class BrokenRecords(FakeRecords):
    """A store on a full disk."""

    works = False

    async def put(self, put: Put) -> bool:
        """Fail until it works."""
        if not self.works:
            raise StorageUnavailable("the disk is full")
        return await super().put(put)


class CountingRecords(FakeRecords):
    """Counts writes."""

    puts = 0

    async def put(self, put: Put) -> bool:
        """Count it."""
        self.puts += 1
        return await super().put(put)


class TestMetrics:
    @pytest.mark.parametrize("name", ["metrics_token", "admin_token", "api_key"])
    async def test_opens_to_three_kinds_of_token(self, client: httpx.AsyncClient, first: FirstRun, name: str) -> None:
        """``bearer_token:`` with a server's API key is what Postal's guides say."""
        token = getattr(first.secrets, name)

        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert ("edgepost_queue_messages" in answer.text) == (name != "api_key")

    @pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Basic {key}", "Bearer {smtp}", "Bearer {hash}"])
    async def test_is_closed_to_everybody_else(self, client: httpx.AsyncClient, first: FirstRun, given: str) -> None:
        """Volumes and destinations are business secrets."""
        assert first.secrets
        key = first.secrets.api_key
        header = given.format(key=key, smtp=first.secrets.smtp_password, hash=key_hash(key))

        answer = await client.get("/metrics", headers={"Authorization": header})

        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="Edgepost metrics"')


class TestFront:
    async def test_all_else_is_the_apis_and_is_counted(self, client: httpx.AsyncClient, front: Front) -> None:
        """Status by area is the first thing to look at when a customer complains."""
        answer = await client.post("/api/v1/send/message", content=b"12345")

        assert (answer.status_code, answer.text) == (201, "5")
        assert front.meter.counted == [  # type: ignore[attr-defined]  # the fixture's
            ("edgepost_http_requests_total", {"area": "v1", "status": "2xx"})
        ]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shrink the waits of the guard."""
    monkeypatch.setattr(http_guard, "HEAD_LIMIT_S", 0.2)
    monkeypatch.setattr(http_guard, "BODY_PAUSE_S", 0.2)
    monkeypatch.setattr(http, "SEEN_BY_BALANCER", timedelta(0))
    return


@pytest.fixture
async def port(front: Front, settings: Settings, tmp_path: Path, short: None) -> AsyncIterator[int]:
    """Return the port of a running HTTP part."""
    listening = socket.create_server(("127.0.0.1", 0))
    number = listening.getsockname()[1]
    stop, ready = asyncio.Event(), asyncio.Event()
    context = Context(settings, {"http": [listening]}, NullMeter(), tmp_path, stop, ready.set)
    running = asyncio.create_task(http.serve_front(front, context))
    await ready.wait()
    yield number
    stop.set()
    await running


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send the pieces and return everything until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"
        finally:
            writer.close()


class TestGuardedProtocol:
    async def test_answers_an_ordinary_request(self, port: int) -> None:
        """What is checked must not be in the way."""
        answer = await talk(
            port, b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12", b"345"
        )

        assert answer.startswith(b"HTTP/1.1 201 ")
        assert answer.endswith(b"\r\n\r\n5")

    @pytest.mark.parametrize("said", [(), (b"GET / HTTP/1.1\r\nHost:",)])
    async def test_silent_client_is_cut_off(self, port: int, said: tuple[bytes, ...]) -> None:
        """A thousand connections that say nothing would keep everybody else out."""
        assert await talk(port, *said) == b""

    async def test_body_that_stops_is_cut_off(self, port: int) -> None:
        """The same, one step later."""
        answer = await talk(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")

        assert answer == b""

    @pytest.mark.parametrize(
        "head",
        [
            [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * 65_536] * 4],
            [b"GET / HTTP/1.1\r\n", *[b"X: 1\r\n" * 300]],
            [b"GET /", *[b"x" * 65_536] * 4],
        ],
        ids=["long field", "many fields", "long path"],
    )
    async def test_head_without_end_is_refused(self, port: int, head: list[bytes]) -> None:
        """The parser has no bound of its own, so memory would be the bound."""
        answer = await talk(port, *head)

        assert answer == b"reset" or answer.startswith(b"HTTP/1.1 431 ")

    async def test_large_body_is_not_a_large_head(self, port: int) -> None:
        """Attachments come in the body, in pieces larger than any head may be."""
        body = b"x" * 3_000_000
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

        answer = await talk(port, head + body)

        assert answer.endswith(b"\r\n\r\n3000000")

    async def test_connection_is_kept_for_the_next_request(self, port: int) -> None:
        """A handshake for each message would cost more than the message."""
        request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"

        answer = await talk(port, request, request + b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        assert answer.count(b"HTTP/1.1 200 OK") == 3

    async def test_nonsense_is_400(self, port: int) -> None:
        """What is no HTTP gets an answer that ends it."""
        assert (await talk(port, b"EHLO example.com\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
