"""How parameters come in, who is let in, and what the envelope looks like whatever happens."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.flow.servers import suspend_server
from shared.settings import Settings
from tests.fakes.api import API, open_api

GOOD = {"to": ["user@dest.test"], "from": "app@example.test", "plain_body": "Hi."}
PATHS = ["send/message", "send/raw", "messages/message", "messages/deliveries"]
FORM = "application/x-www-form-urlencoded"


async def post(api: API, content: Any, content_type: str, query: str = "") -> Any:
    """POST bytes to send/message and return the answer."""
    return await api.client.post(
        f"/api/v1/send/message{query}", content=content, headers={"content-type": content_type}
    )


class TestReadParameters:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
    @pytest.mark.parametrize("path", PATHS)
    async def test_every_call_takes_every_method(self, method: str, path: str) -> None:
        """Postal's routes match GET, POST, PUT and PATCH alike."""
        api = await open_api()

        answer = await api.client.request(method, f"/api/v1/{path}", json={})

        assert answer.status_code == 200
        assert list(answer.json()) == ["status", "time", "flags", "data"]
        assert answer.json()["status"] in ("error", "parameter-error")

    @pytest.mark.parametrize(
        "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
    )
    async def test_json(self, content_type: str) -> None:
        """The form of most clients."""
        answer = await post(await open_api(), json.dumps(GOOD), content_type)

        assert answer.json()["status"] == "success"

    async def test_json_is_merged_with_the_query(self) -> None:
        """As Rails merges its parameters (ActionDispatch::Http::Parameters): the query counts more."""
        api = await open_api()
        part = {"to": GOOD["to"], "plain_body": "Hi."}

        answer = await post(
            api, json.dumps(part), "application/json", "?from=app@example.test&plain_body=Ho.&cc[]=c@dest.test"
        )

        assert list(answer.json()["data"]["messages"]) == ["user@dest.test", "c@dest.test"]
        assert b"Ho." in await api.sent_raw(answer.json())

    async def test_params_of_the_query_count_more_than_those_of_the_form(self) -> None:
        """One rule for every form that parameters travel in."""
        api = await open_api()
        form, query = ({"params": json.dumps(GOOD | {"subject": subject})} for subject in ("Form", "Query"))

        answer = await post(api, urlencode(form), FORM, f"?{urlencode(query)}")

        assert b"Subject: Query" in await api.sent_raw(answer.json())

    @pytest.mark.parametrize("path", PATHS)
    async def test_a_slash_at_the_end_changes_nothing(self, path: str) -> None:
        """Rails ignores it; a redirect would lose bodies, and would lead to whatever the Host header says."""
        api = await open_api()

        answer = await api.client.post(f"/api/v1/{path}/", json={}, headers={"host": "evil.test"})

        assert answer.status_code == 200
        assert answer.json()["status"] in ("error", "parameter-error")

    async def test_form_field_params(self) -> None:
        """Postal's Ruby client sends its JSON so."""
        answer = await post(await open_api(), urlencode({"params": json.dumps(GOOD | {"subject": "ü+& "})}), FORM)

        assert answer.json()["status"] == "success"

    async def test_multipart_field_params(self) -> None:
        """Other HTTP libraries make a multipart form of the same field."""
        api = await open_api()

        answer = await api.client.post(
            "/api/v1/send/message", files={"params": (None, json.dumps(GOOD | {"subject": "ü"}))}
        )

        assert answer.json()["status"] == "success"
        assert b"=?utf-8?" in await api.sent_raw(answer.json())

    async def test_query_field_params(self) -> None:
        """A GET has nowhere else to put them."""
        api = await open_api()

        answer = await api.client.get("/api/v1/send/message", params={"params": json.dumps(GOOD)})

        assert answer.json()["status"] == "success"

    async def test_chunked_bodies(self) -> None:
        """Postal's Node client sends no Content-Length."""

        async def chunks() -> AsyncIterator[bytes]:
            for byte in json.dumps(GOOD).encode():
                yield bytes([byte])

        answer = await post(await open_api(), chunks(), "application/json")

        assert answer.json()["status"] == "success"

    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            (json.dumps(GOOD), "text/plain"), ("", "application/json"), (b"to=x", FORM), ("", ""), ("params=", FORM),
            (urlencode({"params": "{}"}), "text/plain"),
        ],
    )  # fmt: skip
    async def test_anything_else_is_no_parameters(self, content: Any, content_type: str) -> None:
        """Then the first missing parameter is named, as in Postal."""
        answer = await post(await open_api(), content, content_type)

        assert (answer.status_code, answer.json()["data"]["code"]) == (200, "NoRecipients")

    async def test_the_same_request_in_another_form_is_not_the_same(self) -> None:
        """Only an exact repetition may share an idempotency key."""
        api = await open_api()
        http = {"Idempotency-Key": "k"}

        first = await api.client.post("/api/v1/send/message", json=GOOD, headers=http)
        form = {"files": {"params": (None, first.request.content)}, "headers": http}
        again = await api.client.post("/api/v1/send/message", **form)  # type: ignore[arg-type]
        other = await api.client.post("/api/v1/send/message?tag=x", json=GOOD, headers=http)

        assert again.json()["data"] == first.json()["data"]
        assert other.json()["data"]["code"] == "IdempotencyKeyReused"

    async def test_a_body_over_the_limit_is_refused_before_it_is_read(self) -> None:
        """With or without Content-Length, and in Postal's shape, because clients parse only that."""
        api = await open_api(Settings(max_message_bytes=65536))

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * 65536
            raise AssertionError("read on after the limit")

        for content in (b" " * 2_000_000, endless()):
            answer = await post(api, content, "application/json")

            assert answer.status_code == 200
            assert (answer.json()["status"], answer.json()["data"]["code"]) == ("error", "MessageTooLarge")


class TestAuthentication:
    @pytest.mark.parametrize("path", PATHS)
    async def test_no_key(self, path: str) -> None:
        """Postal's words exactly."""
        api = await open_api()

        for key in ("", " "):
            answer = await api.call(path, {}, **{"x-server-api-key": key})

            assert answer["status"] == "error"
            assert answer["data"] == {"message": "Must be authenticated as a server.", "code": "AccessDenied"}

    async def test_a_wrong_key_is_said_back(self) -> None:
        """Postal echoes it to whoever sent it; nothing of the request is read."""
        api = await open_api()

        answer = await api.client.post("/api/v1/send/message", content=b"{", headers={"x-server-api-key": "wrong"})

        assert answer.status_code == 200
        assert answer.json()["data"] == {
            "message": "The API token provided in X-Server-API-Key was not valid.",
            "token": "wrong",
            "code": "InvalidServerAPIKey",
        }

    async def test_keys_are_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """A log that holds keys is as good as the keys."""
        api = await open_api()
        caplog.set_level(0)

        await api.call("send/message", {}, **{"x-server-api-key": "wrong-key-in-log"})
        await api.send(to=None)

        text = "\n".join(str(vars(record)) for record in caplog.records if not record.name.startswith("http"))
        assert "wrong-key-in-log" not in text
        assert api.here.key not in text

    async def test_a_suspended_server_is_told_so(self) -> None:
        """Postal gives the code alone."""
        api = await open_api()
        await suspend_server(
            api.here.server.permalink, "abuse", records=api.here.records, events=api.here.events, now=api.here.clock()
        )
        api.here.clock.advance(timedelta(seconds=10))

        answer = await api.send()

        assert (answer["status"], answer["data"]) == ("error", {"code": "ServerSuspended"})
