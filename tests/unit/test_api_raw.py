"""send/raw: a complete message, byte for byte but for its line ends."""

import base64
from typing import Any

import pytest

from shared.domain.message import Via
from tests.fakes.api import API, open_api
from tests.fakes.installation import RAW


async def send_raw(api: API, raw: bytes = RAW, **changes: Any) -> Any:
    """Call send/raw with good parameters, changed as told; None leaves one out."""
    parameters: dict[str, Any] = {
        "mail_from": "app@example.test",
        "rcpt_to": ["user@dest.test"],
        "data": base64.encodebytes(raw).decode(),
    }
    asked = {name: value for name, value in (parameters | changes).items() if value is not None}
    return await api.call("send/raw", asked)


class TestSendRaw:
    async def test_the_bytes_are_kept(self) -> None:
        """Whoever hands over a complete message may have signed it."""
        api = await open_api()

        answer = await send_raw(api)

        assert answer["data"]["message_id"] == "one@example.test"
        assert list(answer["data"]["messages"]) == ["user@dest.test"]
        assert await api.sent_raw(answer) == RAW
        message = await api.here.message(answer["data"]["messages"]["user@dest.test"]["id"])
        assert message.origin.via is Via.RAW_HTTP

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({"rcpt_to": None}, "rcpt_to"),
            ({"rcpt_to": "user@dest.test"}, "rcpt_to"),
            ({"rcpt_to": None, "mail_from": None, "data": None}, "rcpt_to"),
            ({"mail_from": None, "data": None}, "mail_from"),
            ({"mail_from": " "}, "mail_from"),
            ({"data": ""}, "data"),
        ],
    )
    async def test_a_missing_parameter_is_named(self, changes: dict[str, Any], name: str) -> None:
        """In Postal's words, checked in Postal's order."""
        api = await open_api()

        answer = await send_raw(api, **changes)

        assert answer["status"] == "parameter-error"
        assert answer["data"] == {"message": f"`{name}` parameter is required but is missing"}

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": RAW.decode()},
            {"data": "!!!"},
            {"data": 5},
            {"raw": b"\0\xff" * 50},
            {"raw": RAW.replace(b"app@example.test>", b"app@other.test>")},
            {"raw": RAW.replace(b"From: ", b"From : ")},
            {"raw": b"From: x@other.test\r\n" + RAW},
            {"raw": RAW.replace(b"\r\nTo:", b", x@other.test\r\nTo:")},
            {"raw": RAW.replace(b"\r\nSubject: Hello", b"\r\nSubject: Hello\nFrom: ceo@other.test")},
            {"raw": RAW.replace(b"\r\nSubject: Hello", b"\r\nSubject: Hello\rFrom: ceo@other.test")},
            {"raw": b"Sender: x@other.test\r\n" + RAW},
        ],
    )
    async def test_a_sender_that_is_not_ours_gets_postals_bare_code(self, changes: dict[str, Any]) -> None:
        """Data that is not base64 ends here too: that is what Postal's users know as the sign of it."""
        api = await open_api()

        answer = await send_raw(api, **changes)

        assert (answer["status"], answer["data"]) == ("error", {"code": "UnauthenticatedFromAddress"})

    async def test_no_recipients_succeed_with_no_messages(self) -> None:
        """Postal stores a message for each recipient, so none for none."""
        api = await open_api()

        answer = await send_raw(api, rcpt_to=[])

        assert (answer["status"], answer["data"]) == ("success", {"message_id": None, "messages": {}})

    async def test_recipients_are_keys_as_given_and_only_once(self) -> None:
        """Applications look the answer up by the text they sent."""
        api = await open_api()

        answer = await send_raw(api, rcpt_to=["User@DEST.test", "User@DEST.test", "x@dest.test"])

        assert list(answer["data"]["messages"]) == ["User@DEST.test", "x@dest.test"]

    async def test_more_than_fifty_recipients_are_fine(self) -> None:
        """Postal's limit of 50 is send/message's only."""
        api = await open_api()

        answer = await send_raw(api, rcpt_to=[f"user{number}@dest.test" for number in range(60)])

        assert len(answer["data"]["messages"]) == 60

    @pytest.mark.parametrize(
        "changes", [{"rcpt_to": ["a@b.c>\r\nRCPT TO:<evil@x.y"]}, {"rcpt_to": [None]}, {"mail_from": "a@b.c\0"}]
    )
    async def test_an_address_that_is_none_is_refused(self, changes: dict[str, Any]) -> None:
        """It would stand in an SMTP command."""
        api = await open_api()

        answer = await send_raw(api, **changes)

        assert answer["data"]["code"] == "InvalidAddress"

    async def test_line_ends_become_crlf(self) -> None:
        """Many clients encode text with bare LF; on the wire it must not be so."""
        api = await open_api()

        answer = await send_raw(api, RAW.replace(b"\r\n", b"\n"))

        assert await api.sent_raw(answer) == RAW

    async def test_bounce_means_a_null_sender(self) -> None:
        """Undocumented in Postal, but there."""
        api = await open_api()

        answer = await send_raw(api, bounce=True)

        message = await api.here.message(answer["data"]["messages"]["user@dest.test"]["id"])
        assert (message.bounce, message.mail_from) == (True, "")

    async def test_nul_bytes_are_named(self) -> None:
        """RFC 5322 §4: no message has them; the sender is fine, so the answer says what is wrong."""
        api = await open_api()

        answer = await send_raw(api, RAW + b"\0")

        assert answer["data"]["code"] == "MalformedMessage"
