"""Large requests: uploaded first, then meant by a v1 call, exactly as if they had been posted."""

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from functions.api.app import build_app
from functions.api.lambda_limit import MAX_ANSWER_BYTES, bounded
from shared.domain.errors import StorageUnavailable
from shared.domain.tenancy import CredentialType
from shared.domain.upload import LIVES
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.servers import NewServer, create_server, suspend_server
from shared.settings import Settings
from tests.fakes.api import API, api_over, open_api, services_of
from tests.fakes.installation import RAW

MESSAGE = {"to": ["user@dest.test"], "from": "App <app@example.test>", "subject": "Hello", "plain_body": "Hi."}
UPLOADS = "/api/v2/uploads"


def as_json(request: object) -> bytes:
    """Return the bytes that a client would post."""
    return json.dumps(request).encode()


async def place(api: API, size_bytes: object) -> httpx.Response:
    """Ask for a place."""
    return await api.client.post(UPLOADS, json={"size_bytes": size_bytes})


async def put(api: API, url: str, content: bytes) -> httpx.Response:
    """PUT as a client does that knows no API key."""
    path = url.removeprefix(api.here.settings.public_url)
    return await api.client.put(path, content=content, headers={"x-server-api-key": ""})


async def uploaded(api: API, request: object) -> str:
    """Upload a request and return the upload's id."""
    content = request if isinstance(request, bytes) else as_json(request)
    made = (await place(api, len(content))).json()
    answer = await put(api, made["url"], content)
    assert answer.status_code == 200, answer.text
    return str(made["id"])


async def code_of(api: API, call: str, parameters: object, **http: str) -> str:
    """Return the code with which a call is refused."""
    return str((await api.call(call, parameters, **http))["data"]["code"])


async def another(api: API) -> API:
    """Return the API with the key of another server of the same installation."""
    here = api.here
    server = await create_server(
        NewServer(name="Other"),
        organization=here.tenant.organization,
        records=here.records,
        rng=here.rng,
        now=here.clock(),
    )
    issued = await create_credential(
        NewCredential(type=CredentialType.API, name="x"),
        server=server,
        records=here.records,
        rng=here.rng,
        now=here.clock(),
    )
    other = api_over(here)
    other.client.headers["x-server-api-key"] = issued.key
    return other


class TestMakePlace:
    async def test_says_all_that_a_client_needs(self) -> None:
        """The client follows the answer and needs to know nothing of the storage behind it."""
        api = await open_api()

        answer = await place(api, 8_000_000)

        assert answer.status_code == 201
        said = answer.json()
        assert set(said) == {"id", "url", "method", "headers", "expires_at", "max_bytes"}
        assert (said["method"], said["headers"]) == ("PUT", {"Content-Type": "application/json"})
        assert said["url"].startswith("http://localhost:8080/api/v2/uploads/")
        assert said["max_bytes"] == 26214400 * 4 // 3 + 1_000_000

    async def test_the_largest_message_fits_and_no_more(self) -> None:
        """The limit is that of a posted request."""
        api = await open_api(Settings(max_message_bytes=65536))
        most = 65536 * 4 // 3 + 1_000_000

        assert (await place(api, most)).status_code == 201
        answer = await place(api, most + 1)

        assert (answer.status_code, answer.json()["detail"]["code"]) == (413, "MessageTooLarge")

    @pytest.mark.parametrize("size", [0, -1, "5", 1.5, None, True, 2**63])
    async def test_a_size_must_be_a_number_of_bytes(self, size: object) -> None:
        """Storage signs for exactly this number."""
        assert (await place(await open_api(), size)).status_code == 422

    async def test_only_a_servers_key_opens_it(self) -> None:
        """Nobody else may fill our storage."""
        api = await open_api()
        api.client.headers["x-server-api-key"] = "nobody"
        assert (await place(api, 5)).status_code == 401
        del api.client.headers["x-server-api-key"]
        assert (await place(api, 5)).status_code in (401, 403)

    async def test_a_suspended_server_gets_none(self) -> None:
        """What it may not send it need not bring."""
        api = await open_api()
        await suspend_server(
            "main", reason="abuse", records=api.here.records, events=api.here.events, now=api.here.clock()
        )
        api.here.clock.advance(timedelta(minutes=5))

        answer = await place(api, 5)

        assert (answer.status_code, answer.json()["detail"]["code"]) == (403, "ServerSuspended")

    async def test_a_storage_failure_is_temporary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not knowing is temporary, and says when to come again."""
        api = await open_api()

        async def failing(*_: object, **__: object) -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(api.here.stores.uploads, "make_target", failing)
        answer = await place(api, 5)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

    async def test_a_body_without_end_is_cut_off(self) -> None:
        """FastAPI reads a body before it asks for the key; strangers must not fill the memory."""
        api = await open_api()

        answer = await api.client.post(UPLOADS, content=b" " * 1_000_001, headers={"x-server-api-key": ""})

        assert (answer.status_code, answer.json()["detail"]["code"]) == (413, "RequestTooLarge")

    async def test_the_openapi_document_shows_it(self) -> None:
        """Clients are made from the document."""
        document = build_app(services_of((await open_api()).here)).openapi()

        assert set(document["paths"]) >= {UPLOADS, UPLOADS + "/{ticket}"}
        assert "size_bytes" in document["components"]["schemas"]["NewUpload"]["properties"]


class TestPut:
    @pytest.mark.parametrize("content", [b"{}", b"{}  ", b""])
    async def test_only_the_announced_size_is_taken(self, content: bytes) -> None:
        """S3 takes no other either: the length is signed."""
        api = await open_api()
        made = (await place(api, 3)).json()

        answer = await put(api, made["url"], content)

        assert (answer.status_code, answer.json()["detail"]["code"]) == (422, "InvalidParameter")
        assert await code_of(api, "send/message", {"upload": made["id"]}) == "UploadNotFound"

    async def test_an_altered_ticket_opens_nothing(self) -> None:
        """The ticket names server and size; nobody but we can write one."""
        api = await open_api()
        made = (await place(api, 2)).json()
        ticket = made["url"].rpartition("/")[2]

        for wrong in (ticket[:-4] + "AAA=", ticket + "A", "x", "x" * 5000, "v1.00000000.AAAA"):
            answer = await put(api, f"{UPLOADS}/{wrong}", b"{}")
            assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "NotFound"), wrong

    async def test_a_stored_secret_is_no_ticket(self) -> None:
        """Both are sealed by the same key, for different ends."""
        api = await open_api()
        sealed = api.here.stores.keyring.wrap(b'["uploads/1/x", 2, 9999999999999]', context="another")

        assert (await put(api, f"{UPLOADS}/{sealed}", b"{}")).status_code == 404

    async def test_a_ticket_ends(self) -> None:
        """A URL that was logged somewhere must not be good for ever."""
        api = await open_api()
        made = (await place(api, 2)).json()
        api.here.clock.advance(LIVES)

        assert (await put(api, made["url"], b"{}")).status_code == 404

    async def test_the_last_bytes_count(self) -> None:
        """A client whose connection broke puts again."""
        api = await open_api()
        first, second = as_json(MESSAGE | {"subject": "A"}), as_json(MESSAGE | {"subject": "B"})
        made = (await place(api, len(first))).json()
        await put(api, made["url"], first)
        await put(api, made["url"], second)

        answer = await api.call("send/message", {"upload": made["id"]})

        assert b"Subject: B\r\n" in await api.sent_raw(answer)


class TestUploaded:
    async def test_means_what_it_would_have_meant_if_posted(self) -> None:
        """Large attachments are the reason for it all; every byte arrives."""
        api = await open_api()
        content = bytes(range(256)) * 32768
        attachment = {"name": "a.bin", "content_type": "application/x-y", "data": base64.b64encode(content).decode()}

        upload = await uploaded(api, MESSAGE | {"attachments": [attachment]})
        answer = await api.call("send/message", {"upload": upload})

        assert answer["status"] == "success"
        raw = await api.sent_raw(answer)
        assert len(raw) > len(content) * 4 / 3
        assert len(await api.here.take_jobs()) == 1

    async def test_a_complete_message_goes_too(self) -> None:
        """send/raw carries the largest requests."""
        api = await open_api()
        request = {"mail_from": "app@example.test", "rcpt_to": ["u@d.test"], "data": base64.b64encode(RAW).decode()}

        answer = await api.call("send/raw", {"upload": await uploaded(api, request)})

        assert list(answer["data"]["messages"]) == ["u@d.test"]

    @pytest.mark.parametrize(
        "request_", [MESSAGE | {"to": []}, MESSAGE | {"from": "x@elsewhere.test"}, MESSAGE | {"tag": "x" * 256}, {}]
    )
    async def test_is_refused_as_if_posted(self, request_: dict[str, object]) -> None:
        """Same checks, same words; and it stays for another try."""
        api = await open_api()
        posted = await api.call("send/message", request_)
        upload = await uploaded(api, request_)

        for _ in range(2):
            answer = await api.call("send/message", {"upload": upload})
            assert (answer["status"], answer["data"]) == (posted["status"], posted["data"])

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 200_000])
    async def test_what_is_no_json_object_is_unreadable(self, content: bytes) -> None:
        """Hostile bytes are no reason to fall over."""
        api = await open_api()
        upload = await uploaded(api, content)

        answer = await api.client.post("/api/v1/send/message", json={"upload": upload})

        assert (answer.status_code, answer.json()["status"]) == (400, "parameter-error")

    async def test_an_upload_that_means_an_upload_is_not_followed(self) -> None:
        """One step, no chain: the inner name is a parameter that nobody knows."""
        api = await open_api()
        inner = await uploaded(api, MESSAGE)

        assert await code_of(api, "send/message", {"upload": await uploaded(api, {"upload": inner})}) == "NoRecipients"

    async def test_is_used_once(self) -> None:
        """What was sent is not kept a second time."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)
        await api.call("send/message", {"upload": upload})

        assert await code_of(api, "send/message", {"upload": upload}) == "UploadNotFound"
        assert len(await api.here.take_jobs()) == 1

    async def test_nothing_may_stand_beside_it(self) -> None:
        """Two places for one parameter would be one too many."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)

        assert await code_of(api, "send/message", {"upload": upload, "tag": "x"}) == "InvalidParameter"

    @pytest.mark.parametrize("given", ["", "x", "../1", 5, True, [], {"a": 1}, "ffffffffffff-" + "a" * 24, "\n"])
    async def test_a_name_that_cannot_be_one_is_refused(self, given: object) -> None:
        """It becomes part of a key in storage."""
        assert await code_of(await open_api(), "send/message", {"upload": given}) == "InvalidParameter"

    async def test_another_servers_upload_is_unknown(self) -> None:
        """Tenants cannot use, or even find, what others have brought."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)
        other = await another(api)

        assert await code_of(other, "send/message", {"upload": upload}) == "UploadNotFound"
        assert (await api.call("send/message", {"upload": upload}))["status"] == "success"

    async def test_it_ends(self) -> None:
        """The text says since when, so that nobody looks for the fault elsewhere."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)
        api.here.clock.advance(LIVES)

        answer = await api.call("send/message", {"upload": upload})

        assert answer["data"] == {
            "code": "UploadExpired",
            "message": "The upload had to be used by 2026-01-01T13:00:00Z",
        }

    async def test_a_failed_removal_is_not_the_clients_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message was accepted: an error now would make the client send it twice."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)

        async def failing(_key: str) -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(api.here.stores.uploads, "delete", failing)

        assert (await api.call("send/message", {"upload": upload}))["status"] == "success"


class TestIdempotency:
    async def test_the_same_answer_when_the_upload_is_gone(self) -> None:
        """The first answer may have been lost on the way, long ago."""
        api = await open_api()
        upload = await uploaded(api, MESSAGE)
        key = {"Idempotency-Key": "order-1"}

        first = await api.call("send/message", {"upload": upload}, **key)
        again = await api.call("send/message", {"upload": upload}, **key)
        api.here.clock.advance(timedelta(days=2))
        later = await api.call("send/message", {"upload": upload}, **key)

        assert first["data"] == again["data"] == later["data"]
        assert len(await api.here.take_jobs()) == 1

    async def test_uploaded_again_or_posted_it_is_the_same_request(self) -> None:
        """The digest is of the bytes, not of the way they came."""
        api = await open_api()
        key = {"Idempotency-Key": "order-1"}
        first = await api.call("send/message", {"upload": await uploaded(api, MESSAGE)}, **key)

        again = await api.call("send/message", {"upload": await uploaded(api, MESSAGE)}, **key)
        posted = await api.client.post(
            "/api/v1/send/message", content=as_json(MESSAGE), headers={"content-type": "application/json", **key}
        )

        assert first["data"] == again["data"] == posted.json()["data"]

    async def test_the_key_with_other_bytes_is_refused(self) -> None:
        """As with posted requests."""
        api = await open_api()
        key = {"Idempotency-Key": "order-1"}
        await api.call("send/message", {"upload": await uploaded(api, MESSAGE)}, **key)

        other = await uploaded(api, MESSAGE | {"subject": "Other"})

        assert await code_of(api, "send/message", {"upload": other}, **key) == "IdempotencyKeyReused"

    async def test_another_call_is_another_request(self) -> None:
        """What was built into a message is not the answer of send/raw."""
        api = await open_api()
        key = {"Idempotency-Key": "order-1"}
        upload = await uploaded(api, MESSAGE)
        await api.call("send/message", {"upload": upload}, **key)

        assert await code_of(api, "send/raw", {"upload": upload}, **key) == "UploadNotFound"


def answer_of(body: str) -> dict[str, Any]:
    """Return an answer as Mangum makes it."""
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return {"statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": False}


class TestBounded:
    @pytest.mark.parametrize("body", ["", "x" * 1000, "x" * (MAX_ANSWER_BYTES - 1000)])
    def test_what_fits_is_left_alone(self, body: str) -> None:
        """Nearly all answers."""
        assert bounded(answer_of(body)) == answer_of(body)

    @pytest.mark.parametrize("body", ["x" * MAX_ANSWER_BYTES, '"' * (MAX_ANSWER_BYTES // 2), "é" * (1 << 20)])
    def test_what_lambda_could_not_return_becomes_a_clear_error(self, body: str) -> None:
        """Lambda counts the answer as JSON, escapes included, and would say "internal error"."""
        answer = bounded(answer_of(body))

        assert json.loads(answer["body"])["data"]["code"] == "AnswerTooLarge"
        assert answer["statusCode"] == 200
        assert "content-length" not in answer["headers"]
