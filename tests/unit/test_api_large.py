"""Large requests: how their base64 is read, and how few of them are worked on at once."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx
import pytest

from functions.api.app import build_app
from functions.api.large_data import lift
from functions.api.large_requests import LARGE_BYTES, LargeRequests
from functions.api.transport import json_parameters
from shared.domain.mime_encoding import lenient_base64
from shared.room import Room
from tests.fakes.api import API, open_api, services_of
from tests.fakes.eventually import eventually
from tests.fakes.installation import RAW

NOISE = Random(4).randbytes(1_200_000)
LETTER = RAW + base64.encodebytes(NOISE).replace(b"\n", b"\r\n")
CODED = base64.b64encode(NOISE).decode()
JSON = {"content-type": "application/json"}
PADDED = base64.b64encode(NOISE[:-1]).decode()


def raw_request(data: str = "") -> dict[str, Any]:
    """Return the parameters of a large send/raw."""
    data = data or base64.b64encode(LETTER).decode()
    return {"mail_from": "app@example.test", "rcpt_to": ["user@dest.test"], "data": data}


def meaning(values: Any) -> Any:
    """Return values with each ``data`` that is still text as what its base64 encodes."""
    attachments = values.get("attachments", ())
    for holder in (values, *(attachments if isinstance(attachments, list) else ())):
        if isinstance(holder, dict) and isinstance(holder.get("data"), str):
            holder["data"] = lenient_base64(holder["data"])
    return values


def plainly(body: bytes) -> Any:
    """Return what the plain way of reading makes of a body."""
    return meaning(json.loads(body))


def as_read(body: bytes) -> Any:
    """Return what the API makes of it."""
    return meaning(json_parameters(body).values)


class TestReading:
    @pytest.mark.parametrize(
        "data",
        [
            CODED,
            PADDED,
            PADDED.rstrip("="),
            base64.encodebytes(NOISE).decode(),
            base64.encodebytes(NOISE[:-2]).decode().replace("\n", "\r\n"),
            base64.urlsafe_b64encode(NOISE).decode(),
            PADDED + CODED,
            PADDED + "\n" + "=" * 70_000,
            CODED[:700_000] + "==" + CODED[700_000:],
            CODED + "\\",
            CODED + '"',
            CODED + "ü",
            "=" * 1_100_000,
            "A" * 1_100_001,
            "\n" * 1_100_000,
        ],
        ids=range(15),
    )
    @pytest.mark.parametrize("slash", ["/", "\\/"])
    def test_whatever_data_holds_means_the_same(self, data: str, slash: str) -> None:
        """Padding, line ends, PHP's escaped slashes: size must not change what is understood."""
        plain = json.dumps({"data": data, "rcpt_to": ["a/b"]}).replace("/", slash).encode()
        listed = json.dumps({"attachments": [{"name": "x", "data": data}, {"data": "QQ=="}]}).replace("/", slash)

        assert as_read(plain) == plainly(plain)
        assert as_read(listed.encode()) == plainly(listed.encode())

    @pytest.mark.parametrize(
        "body",
        [
            b'{"metadata": {"data": "%b"}}',
            b'{"attachments": {"data": "%b"}}',
            b'{"attachments": [[{"data": "%b"}]]}',
            b'{"data": ["%b"], "x": {"data": "%b"}}',
            b'{"data": "%b", "data": "QQ=="}',
            b'{"data": "QQ==", "data" \n:\t "%b"}',
            b'{"x\\"data": "%b"}',
            b'{"html_body": "\\"data\\": \\"%b\\""}',
            b'{"d\\u0061ta": "%b"}',
            b'{"plain_body": "%b", "data": "QQ=="}',
        ],
        ids=range(10),
    )
    def test_only_where_the_api_looks_for_it(self, body: bytes) -> None:
        """A text elsewhere stays the text it is."""
        body = body.replace(b"%b", CODED.encode())

        assert as_read(body) == plainly(body)

    def test_large_base64_never_becomes_text(self) -> None:
        """What this is for: the values hold what was encoded."""
        values = json_parameters(json.dumps(raw_request()).encode()).values

        assert values["data"] == LETTER

    @pytest.mark.parametrize("body", [b'{"data": "%b"', b'{"a": x"data": "%b"}', b'{"data": "%b"} "', b'"data": "%b"'])
    def test_malformed_json_stays_malformed(self, body: bytes) -> None:
        """Names stand between the same quotes."""
        rest, contents = lift(body.replace(b"%b", CODED.encode()), "mark")

        assert len(contents) == 1
        with pytest.raises(ValueError, match=r"."):
            json.loads(rest)


def limited(api: API, room: Room, **changes: float) -> httpx.AsyncClient:
    """Return a client of the API with another room."""
    app = build_app(services_of(api.here), LargeRequests(room, **changes))
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4711))
    headers = {"x-server-api-key": api.here.key}
    return httpx.AsyncClient(transport=transport, base_url="http://api.test/api/v1", headers=headers)


class TestRoom:
    async def test_without_room_the_answer_is_later(self) -> None:
        """Nothing is stored, and the client knows when to come again."""
        api = await open_api()
        room = Room(10_000_000, wait_s=0, most_waiting=5)
        client = limited(api, room)
        assert await room.enter("others", 10_000_000)

        answer = await client.post("/send/raw", json=raw_request())

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["data"]["code"] == "TemporarilyUnavailable"
        assert api.here.work.sent == 0

    async def test_small_requests_need_none(self) -> None:
        """They never wait behind large ones."""
        api = await open_api()
        room = Room(10_000_000, wait_s=0, most_waiting=5)
        assert await room.enter("others", 10_000_000)

        answer = await limited(api, room).post("/send/raw", json=raw_request(base64.b64encode(RAW).decode()))

        assert answer.json()["status"] == "success"

    @pytest.mark.parametrize(
        ("changes", "status"), [({}, "success"), ({"rcpt_to": None}, "parameter-error"), ({"data": "x"}, "error")]
    )
    async def test_room_is_given_back_with_every_answer(self, changes: dict[str, Any], status: str) -> None:
        """A refusal must not make the room smaller."""
        api = await open_api()
        room = Room(10_000_000, wait_s=60, most_waiting=5)
        client = limited(api, room)

        answers = [await client.post("/send/raw", json={**raw_request(), "x": CODED, **changes}) for _ in range(3)]

        assert [answer.json()["status"] for answer in answers] == [status] * 3
        assert room.held_bytes == 0

    async def test_of_many_at_once_all_are_taken_in_turn(self) -> None:
        """The line is short and quick: clients notice nothing but the wait."""
        api = await open_api()
        room = Room(4_000_000, wait_s=60, most_waiting=10)
        client = limited(api, room)

        answers = await asyncio.gather(*(client.post("/send/raw", json=raw_request()) for _ in range(5)))

        assert {answer.json()["status"] for answer in answers} == {"success"}
        assert room.held_bytes == 0

    async def test_a_body_without_length_counts_as_the_largest(self) -> None:
        """What was not announced could be anything."""
        api = await open_api()
        room = Room(10**9, wait_s=0, most_waiting=5)
        client = limited(api, room)
        go_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b" " * (LARGE_BYTES + 1)
            await go_on.wait()
            yield json.dumps(raw_request()).encode()

        answering = asyncio.create_task(client.post("/send/raw", content=body(), headers=JSON))
        await eventually(lambda: room.held_bytes)
        held = room.held_bytes
        go_on.set()

        assert (await answering).json()["status"] == "success"
        assert held == services_of(api.here).max_request_bytes

    async def test_a_body_that_comes_too_slowly_ends(self) -> None:
        """It holds room that others wait for."""
        api = await open_api()
        room = Room(10**9, wait_s=0, most_waiting=5)
        client = limited(api, room, grace_s=0, least_rate=10**9)
        never = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b" " * (LARGE_BYTES + 1)
            await never.wait()

        answer = await client.post("/send/raw", content=body(), headers=JSON)

        assert answer.status_code == 408
        assert room.held_bytes == 0
