"""JSON as attackers and broken clients send it: a clean answer in Postal's shape, never a 5xx."""

import json
from typing import Any

import pytest

from tests.fakes.api import API, open_api

GOOD = '"to":["user@dest.test"],"from":"app@example.test","plain_body":"Hi."'


def also(members: str) -> str:
    """Return good parameters with further members."""
    return "{" + GOOD + "," + members + "}"


UNREADABLE = {
    "deep arrays": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "deep inside a parameter": '{"to":' + "[" * 100_000 + "]" * 100_000 + "}",
    "unclosed": "{",
    "a list": "[]",
    "a number": "1",
    "a text": '"x"',
    "null": "null",
    "NaN": also('"tag":NaN'),
    "infinity": also('"tag":-Infinity'),
    "a number of 10 MB": '{"id":' + "9" * 10_000_000 + "}",
    "control characters in a text": '{"a":"\n"}',
    "single quotes": "{'a':1}",
    "trailing comma": '{"a":1,}',
    "two documents": "{}{}",
    "a NUL": "{}\0",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "latin-1": '{"a":"ü"}'.encode("latin-1"),
    "overlong UTF-8": b'{"a":"\xc0\xae"}',
    "surrogates in UTF-8": b'{"a":"\xed\xa0\x80"}',
}

READABLE = {
    "duplicate keys": also('"tag":"a","tag":"b"'),
    "a byte order mark": b"\xef\xbb\xbf{%s}" % GOOD.encode(),
    "huge floats": also('"x":1e999999,"y":-1e-999999'),
    "lone surrogates": also('"subject":"a\\ud800b","html_body":"\\udfff\\\\ud800"'),
    "a surrogate in a name": also('"headers":{"X":"\\udead"}'),
    "every type everywhere": also(
        ",".join(f'"{name}":{{"a":[1]}}' for name in ("cc", "subject", "html_body", "attachments", "sender"))
    ),
    "numbers as texts": also('"subject":12,"html_body":1.5'),
}

NAMES = [
    "to",
    "cc",
    "from",
    "sender",
    "subject",
    "reply_to",
    "tag",
    "plain_body",
    "html_body",
    "headers",
    "attachments",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**300,
    "",
    " ",
    "x",
    [],
    {},
    [[]],
    [{}],
    {"a": {}},
    [None],
    ["\0"],
]


async def post(api: API, path: str, content: str | bytes) -> Any:
    """POST bytes as JSON and return the answer, whose shape must be Postal's."""
    answer = await api.client.post(f"/api/v1/{path}", content=content, headers={"content-type": "application/json"})
    assert list(answer.json()) == ["status", "time", "flags", "data"]
    assert "Traceback" not in answer.text
    return answer


class TestMalformedJSON:
    @pytest.mark.parametrize("name", UNREADABLE)
    async def test_is_a_400_with_a_sentence(self, name: str) -> None:
        """Postal answers 400 to malformed JSON; whatever the parser chokes on is malformed."""
        answer = await post(await open_api(), "send/message", UNREADABLE[name])

        assert answer.status_code == 400
        assert answer.json()["status"] == "parameter-error"
        assert answer.json()["data"]["message"].startswith("The JSON with the parameters could not be read")

    @pytest.mark.parametrize("name", UNREADABLE)
    async def test_is_a_400_in_a_form_too(self, name: str) -> None:
        """The field ``params`` goes the same way."""
        api = await open_api()
        content = UNREADABLE[name]
        text = content if isinstance(content, str) else content.decode("latin-1")

        answer = await api.client.post("/api/v1/send/message", data={"params": text})

        assert answer.status_code in (200, 400)
        assert answer.json()["status"] != "success"


class TestOddJSON:
    @pytest.mark.parametrize("name", READABLE)
    async def test_is_sent(self, name: str) -> None:
        """What Ruby's parser takes is taken, and what cannot be encoded is replaced."""
        api = await open_api()

        answer = await post(api, "send/message", READABLE[name])

        assert answer.json()["status"] == "success", answer.text
        assert await api.sent_raw(answer.json())

    @pytest.mark.parametrize("path", ["send/message", "send/raw", "messages/message", "messages/deliveries"])
    async def test_no_value_of_any_type_fails(self, path: str) -> None:
        """Every parameter with every kind of value: an answer, not a fault."""
        api = await open_api()
        good: dict[str, Any] = json.loads("{" + GOOD + "}") | {
            "rcpt_to": ["a@b.test"],
            "mail_from": "a@b.test",
            "data": "eA==",
        }

        for name in [*NAMES, "bounce", "metadata", "track_opens", "rcpt_to", "mail_from", "data", "id", "_expansions"]:
            for value in [*VALUES, [{"name": value, "data": value, "content_type": value} for value in VALUES]]:
                answer = await post(api, path, json.dumps(good | {name: value}))

                assert answer.status_code == 200, (name, value, answer.text)


class TestForms:
    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            (b"a=b&" * 5000, "application/x-www-form-urlencoded"),
            (b"params=%", "application/x-www-form-urlencoded"),
            (b"params=%ff%00", "application/x-www-form-urlencoded"),
            (b"x", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary="),
            (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
            (
                b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 2000 + b"--b--",
                "multipart/form-data; boundary=b",
            ),
            (b"\xff\xfe", "application/json; charset=utf-16"),
        ],
        ids=range(8),
    )
    async def test_a_broken_form_is_a_clean_refusal(self, content: bytes, content_type: str) -> None:
        """Forms are parsed before anything is known about them."""
        api = await open_api()

        answer = await api.client.post("/api/v1/send/message", content=content, headers={"content-type": content_type})

        assert answer.status_code in (200, 400)
        assert answer.json()["status"] in ("error", "parameter-error")

    async def test_a_file_named_params_is_read_like_a_field(self) -> None:
        """``curl -F params=@file.json`` sends it so."""
        api = await open_api()

        answer = await api.client.post("/api/v1/send/message", files={"params": ("p.json", b"{%s}" % GOOD.encode())})

        assert answer.json()["status"] == "success"


class TestOddIds:
    async def test_an_infinite_id_is_answered_with_valid_json(self) -> None:
        """1e999 is valid JSON and reads as infinity, which no JSON can say back."""
        answer = await post(await open_api(), "messages/message", '{"id":1e999}')

        assert answer.json()["data"] == {
            "message": "No message found matching provided ID",
            "id": None,
            "code": "MessageNotFound",
        }
