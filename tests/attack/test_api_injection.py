"""Line ends and control characters in every field: refused, or encoded so that nothing new appears."""

import email
import email.policy
import re
from typing import Any

import pytest

from shared.domain.headers import split_head
from tests.fakes.api import open_api

BREAKS = {
    "LF": "\n", "CR": "\r", "CRLF": "\r\n", "fold": "\r\n ", "empty line": "\r\n\r\n", "VT": "\v", "FF": "\f",
    "NEL": "\x85", "LS": "\u2028", "PS": "\u2029", "NUL": "\0", "DEL": "\x7f",
    "encoded": "=?utf-8?q?=0D=0A?=", "unit": "\x1f",
}  # fmt: skip
PAYLOAD = "Bcc: evil@evil.test"
OWN = ["message-id", "date", "from", "to", "subject", "mime-version", "content-type"]

FIELDS: dict[str, Any] = {
    "subject": lambda text: {"subject": text},
    "from name": lambda text: {"_from": f'"{text}" <app@example.test>'},
    "from": lambda text: {"_from": f"app@example.test{text}"},
    "sender": lambda text: {"sender": f"{text} <app@example.test>"},
    "to name": lambda text: {"to": [f"{text} <user@dest.test>"]},
    "to": lambda text: {"to": [f"user@dest.test{text}"]},
    "to text": lambda text: {"to": f"user@dest.test{text}"},
    "cc": lambda text: {"cc": [f"<user@dest.test>{text}"]},
    "reply_to": lambda text: {"reply_to": f"x@example.test{text}"},
    "tag": lambda text: {"tag": text},
    "header value": lambda text: {"headers": {"X-Custom": text}},
    "header name": lambda text: {"headers": {f"X{text}": "x"}},
    "attachment name": lambda text: {"attachments": [{"name": text, "data": "eA=="}]},
    "attachment type": lambda text: {"attachments": [{"name": "a", "content_type": f"a/b{text}", "data": "eA=="}]},
    "attachment id": lambda text: {"attachments": [{"name": "a", "content_id": text, "data": "eA=="}]},
    "attachment disposition": lambda text: {"attachments": [{"name": "a", "disposition": text, "data": "eA=="}]},
    "text": lambda text: {"plain_body": text},
    "html": lambda text: {"html_body": text},
}


class TestHeaderInjection:
    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize("kind", BREAKS)
    async def test_no_header_and_no_recipient_appears(self, field: str, kind: str) -> None:
        """CVE-2024-6923 and its class: the header is what was asked for and our own, whatever a value holds."""
        api = await open_api()

        answer = await api.send(**FIELDS[field](f"a{BREAKS[kind]}{PAYLOAD}{BREAKS[kind]}b"))

        if answer["status"] != "success":
            assert answer["status"] == "error"
            return
        raw = await api.sent_raw(answer)
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw)
        names = {each.key.decode() for each in split_head(raw).fields}
        assert names - {*OWN, "sender", "cc", "reply-to", "x-custom", "content-transfer-encoding"} == set()
        for policy in (email.policy.default, email.policy.compat32):
            parsed = email.message_from_bytes(raw, policy=policy)
            for part in parsed.walk():
                assert "bcc" not in [name.lower() for name in part]
        jobs = await api.here.take_jobs()
        assert len(jobs) == len(answer["data"]["messages"])

    async def test_an_encoded_subject_does_not_decode_into_a_header(self) -> None:
        """Re-serialising it with Python 3.11 wrote a real Bcc field."""
        api = await open_api()
        attack = "=?utf-8?q?hi=0ABcc=3A_evil=40x=2Ey?="

        raw = await api.sent_raw(await api.send(subject=attack))

        parsed = email.message_from_bytes(raw, policy=email.policy.SMTP)
        assert parsed["Subject"] == attack
        assert b"\nBcc" not in parsed.as_bytes()

    @pytest.mark.parametrize(
        "name",
        ["Bcc", "bcc", "Content-Disposition", "content-id", "Received", "DKIM-Signature", "Return-Path",
         "ARC-Seal", "Authentication-Results", "Resent-From", "X-Postal-MsgID"],
    )  # fmt: skip
    async def test_structure_and_trace_cannot_be_set(self, name: str) -> None:
        """Whoever could set them could forge them, or change what the message is."""
        api = await open_api()

        answer = await api.send(headers={name: "x"})

        assert answer["data"]["code"] == "InvalidHeader"

    @pytest.mark.parametrize(
        "sender",
        ["a@other.test", '"a@other.test" <x@example.test>', "x@example.test, a@other.test",
         "x@example.test)a@other.test", "a@other.test (x@example.test)",
         "=?utf-8?q?a=40other=2Etest?= <x@example.test>",
         "group: a@other.test;", "<a@other.test> x@example.test", "a\uff20other.test <x@example.test>",
         "x@example.test.other.test", "x@sub.example.test", "@other.test:x@example.test"],
    )  # fmt: skip
    async def test_no_reading_of_from_shows_another_domain(self, sender: str) -> None:
        """Parsers disagree (CVE-2023-27043): every address that any of them could show must be ours."""
        api = await open_api()

        answer = await api.send(_from=sender)

        assert answer["data"]["code"] == "UnauthenticatedFromAddress"
        assert await api.here.take_jobs() == []

    @pytest.mark.parametrize("header", ["From", "Sender"])
    async def test_a_custom_identity_header_does_not_get_past_the_check(self, header: str) -> None:
        """A From among the custom headers is passed over, a Sender is judged like any."""
        api = await open_api()

        answer = await api.send(headers={header: "ceo@other.test"})

        if answer["status"] == "success":
            assert b"other.test" not in await api.sent_raw(answer)
        else:
            assert answer["data"]["code"] == "UnauthenticatedFromAddress"
