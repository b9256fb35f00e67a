"""Every error of the domain has an answer, and nothing unexpected looks like a refusal."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.api.client_address import client_address
from functions.api.errors import REPLIES, refusal
from shared.domain import errors
from shared.domain.errors import InvalidValue, MailError, StillInProgress, StorageUnavailable, Unavailable
from shared.settings import Settings
from tests.fakes.api import api_over, open_api
from tests.fakes.installation import install


def leaves(root: type[MailError]) -> Iterator[type[MailError]]:
    """Yield the errors of the domain's tree that stand for one thing each."""
    own = [each for each in root.__subclasses__() if each.__module__ == errors.__name__]
    if not own:
        yield root
    for each in own:
        yield from leaves(each)


class Failing:
    """Something that raises whenever anything of it is called."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*given: object, **named: object) -> None:
            raise self._error

        return fail


class TestReplies:
    def test_each_leaf_has_an_answer(self) -> None:
        """An error that the table forgot would be told as temporary and be repeated for ever."""
        assert set(leaves(MailError)) == set(REPLIES)

    def test_only_unavailable_is_503(self) -> None:
        """A client repeats a 503; what cannot succeed must not ask for it."""
        for error, reply in REPLIES.items():
            assert (reply.http_status == 503) == issubclass(error, Unavailable)

    def test_an_unknown_error_is_temporary(self) -> None:
        """Not knowing is temporary."""

        class NewError(Unavailable):
            pass

        assert refusal(NewError("x")).http_status == 503

    def test_only_our_own_words_are_repeated(self) -> None:
        """The cause of a storage failure is for the log."""
        assert "secret" not in json.dumps(refusal(StorageUnavailable("secret")).data)
        assert "of this form" in json.dumps(refusal(InvalidValue("of this form")).data)


class TestEndpoint:
    @pytest.mark.parametrize(
        "error", [StorageUnavailable("down"), StillInProgress("x"), KeyError("bug"), OSError("gone")]
    )
    async def test_trouble_is_told_as_temporary(self, error: Exception) -> None:
        """503 with Retry-After in Postal's envelope, never a traceback, never a refusal."""
        here = await install()
        api = api_over(here, raises=False, using=replace(here.acceptance, messages=Failing(error)))

        answer = await api.client.post("/api/v1/messages/message", json={"id": 5})

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert list(answer.json()) == ["status", "time", "flags", "data"]
        assert (answer.json()["status"], answer.json()["data"]["code"]) == ("error", "TemporarilyUnavailable")
        assert "Traceback" not in answer.text
        assert "bug" not in answer.text

    @pytest.mark.parametrize(
        ("error", "level"), [(StorageUnavailable("down"), logging.ERROR), (StillInProgress("x"), logging.INFO)]
    )
    async def test_only_trouble_of_ours_is_for_somebody_to_look_at(
        self, error: MailError, level: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A repeated request that came too soon is the client's everyday life, a failed store is not."""
        caplog.set_level(logging.INFO)
        here = await install()
        api = api_over(here, using=replace(here.acceptance, messages=Failing(error)))

        await api.client.post("/api/v1/messages/message", json={"id": 5})

        [record] = [each for each in caplog.records if each.name == "functions.api.door"]
        assert record.levelno == level
        assert bool(record.exc_info) == (level == logging.ERROR)

    async def test_a_store_that_fails_while_accepting_promises_nothing(self) -> None:
        """Nothing may be acknowledged before it is durable."""
        here = await install()
        stores = replace(here.stores, bodies=Failing(StorageUnavailable("down")))
        using = replace(here.acceptance, stores=stores)
        api = api_over(here, using=using)

        answer = await api.client.post(
            "/api/v1/send/message", json={"to": "a@b.test", "from": "app@example.test", "plain_body": "x"}
        )

        assert answer.status_code == 503
        assert await here.take_jobs() == []

    async def test_an_unknown_path_is_not_found(self) -> None:
        """Only Postal's calls are Postal's."""
        api = await open_api()

        assert (await api.client.post("/api/v1/send/other", json={})).status_code == 404
        assert (await api.client.delete("/api/v1/send/message")).status_code == 405


class TestClientAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "trusted", "found"),
        [
            ("192.0.2.1", [], "", "192.0.2.1"),
            ("192.0.2.1", ["198.51.100.1"], "", "192.0.2.1"),
            ("10.0.0.1", ["198.51.100.1"], "10.0.0.0/8", "198.51.100.1"),
            ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "10.0.0.0/8", "198.51.100.1"),
            ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "10.0.0.0/8", "198.51.100.1"),
            ("10.0.0.1", ["nonsense"], "10.0.0.0/8", "10.0.0.1"),
            ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.0/8", "10.0.0.1"),
            ("10.0.0.1", ["10.0.0.2"], "10.0.0.0/8", "10.0.0.2"),
            ("::ffff:10.0.0.1", ["2001:db8::1"], "10.0.0.0/8", "2001:db8::1"),
            ("10.0.0.1", [",".join(["1.2.3.4"] * 1000)], "10.0.0.0/8", "1.2.3.4"),
            ("", ["198.51.100.1"], "10.0.0.0/8", ""),
        ],
    )
    def test_believes_trusted_proxies_only(self, peer: str, forwarded: list[str], trusted: str, found: str) -> None:
        """Anybody can send X-Forwarded-For; only what our proxy added last is true."""
        networks = Settings.from_env({"EDGEPOST_TRUSTED_PROXIES": trusted}).trusted_proxies

        assert client_address(peer, forwarded, networks) == found


class TestHandler:
    def test_importing_it_opens_nothing(self) -> None:
        """A Lambda reads its settings at the first event, and tests import without an environment."""
        code = (
            "import functions.api.handler, sys;"
            "print([m for m in sys.modules if m.startswith(('shared.adapters.embedded', 'sqlite3'))])"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout.strip() == "[]"

    def test_answers_an_event_of_api_gateway(self, tmp_path: Path) -> None:
        """The same application behind Mangum, over a store of its own."""
        event = {
            "resource": "/{proxy+}",
            "path": "/api/v1/send/message",
            "httpMethod": "POST",
            "headers": {"x-server-api-key": "wrong", "content-type": "application/json"},
            "multiValueHeaders": {"x-server-api-key": ["wrong"], "content-type": ["application/json"]},
            "queryStringParameters": None,
            "requestContext": {"identity": {"sourceIp": "192.0.2.7"}},
            "body": "{}",
            "isBase64Encoded": False,
        }
        code = (
            "import json; from functions.api.handler import handler;"
            f"answers = [handler(json.loads({json.dumps(event)!r}), None) for _ in range(2)];"
            "print(json.dumps(answers[1]))"
        )

        environment = {"EDGEPOST_DATA_DIR": str(tmp_path), "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, env=environment
        )

        answer = json.loads(done.stdout)
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"])["data"]["code"] == "InvalidServerAPIKey"
