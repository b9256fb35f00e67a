"""send/message: Postal's words in Postal's order, and a message that shows what was asked for."""

import base64
import email
import email.policy
import email.utils
from email.message import EmailMessage
from typing import Any

import pytest

from shared.domain.message import Via
from shared.settings import Settings
from tests.fakes.api import API, open_api

FILE = {"name": "a.txt", "content_type": "text/plain", "data": base64.b64encode(b"file").decode()}


async def sent(api: API, **changes: Any) -> EmailMessage:
    """Send and return the stored message."""
    answer = await api.send(**changes)
    assert answer["status"] == "success", answer
    message = email.message_from_bytes(await api.sent_raw(answer), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


class TestListUnsubscribe:
    async def test_the_parameter_asks_for_the_header(self) -> None:
        """The fields themselves are each recipient's own, and written when the message goes out."""
        api = await open_api()

        assert (await sent(api, list_unsubscribe=True))["X-Edgepost-List-Unsubscribe"] == "yes"
        assert "X-Edgepost-List-Unsubscribe" not in await sent(api, list_unsubscribe=False)


class TestSendMessage:
    async def test_the_documented_example_works_as_written(self) -> None:
        """The example of "Sending via API", text_body and custom header included."""
        api = await open_api(Settings(return_path_domain="rp.example.com"))
        parameters = {
            "to": ["user@dest.test"],
            "from": "noreply@example.test",
            "subject": "Welcome to our app!",
            "html_body": "<h1>Welcome!</h1><p>Thanks for signing up.</p>",
            "text_body": "Welcome! Thanks for signing up.",
            "reply_to": "support@example.test",
            "headers": {"X-Custom-Header": "value"},
        }

        answer = await api.call("send/message", parameters)

        assert list(answer) == ["status", "time", "flags", "data"]
        assert (answer["status"], answer["flags"]) == ("success", {})
        assert list(answer["data"]) == ["message_id", "messages"]
        assert answer["data"]["message_id"].endswith("@rp.example.com")
        [(recipient, made)] = answer["data"]["messages"].items()
        assert recipient == "user@dest.test"
        assert isinstance(made["id"], int)
        assert made["id"] < 2**53
        assert len(made["token"]) == 16
        raw = await api.sent_raw(answer)
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert message["Message-ID"] == f"<{answer['data']['message_id']}>"
        assert (message["X-Custom-Header"], message["Reply-To"]) == ("value", "support@example.test")
        assert [part.get_content_type() for part in message.walk()][1:] == ["text/plain", "text/html"]

    @pytest.mark.parametrize(
        ("changes", "code", "text"),
        [
            ({"to": None}, "NoRecipients", "There are no recipients defined to receive this message"),
            ({"to": [], "cc": "", "bcc": None}, "NoRecipients", None),
            ({"to": {"a": 1}}, "NoRecipients", None),
            (
                {"to": ["a@b.c"] * 51},
                "TooManyToAddresses",
                "The maximum number of To addresses has been reached (maximum 50)",
            ),
            (
                {"cc": ["a@b.c"] * 51},
                "TooManyCCAddresses",
                "The maximum number of CC addresses has been reached (maximum 50)",
            ),
            (
                {"bcc": "a@b.c," * 51},
                "TooManyBCCAddresses",
                "The maximum number of BCC addresses has been reached (maximum 50)",
            ),
            ({"plain_body": " \n"}, "NoContent", "There is no content defined for this e-mail"),
            ({"plain_body": None, "html_body": ""}, "NoContent", None),
            ({"_from": None}, "FromAddressMissing", "The From address is missing and is required"),
            ({"_from": " "}, "FromAddressMissing", None),
            (
                {"_from": "a@other.test"},
                "UnauthenticatedFromAddress",
                "The From address is not authorised to send mail from this server",
            ),
            ({"_from": "a@example.test, b@example.test"}, "UnauthenticatedFromAddress", None),
            ({"_from": '"a@other.test" <a@example.test>'}, "UnauthenticatedFromAddress", None),
            ({"sender": "a@other.test"}, "UnauthenticatedFromAddress", None),
            ({"attachments": [{"data": "eA=="}]}, "AttachmentMissingName", "An attachment is missing a name"),
            ({"attachments": [{"name": "a"}]}, "AttachmentMissingData", "An attachment is missing data"),
            ({"attachments": [{"name": "a", "data": " "}]}, "AttachmentMissingData", None),
            ({"attachments": [{"name": "a", "data": "==="}]}, "AttachmentMissingData", "An attachment is missing data"),
            ({"to": ["nobody"]}, "InvalidAddress", None),
            ({"to": [5]}, "InvalidAddress", None),
            ({"to": [{"email": "a@b.c"}]}, "InvalidAddress", None),
            ({"reply_to": "nobody"}, "InvalidAddress", None),
            ({"headers": {"Bcc": "a@b.c"}}, "InvalidHeader", None),
            ({"headers": {"Content-Base": "x"}}, "InvalidHeader", None),
            ({"headers": {"X Y": "z"}}, "InvalidHeader", None),
            ({"headers": {f"X-{number}": "" for number in range(201)}}, "InvalidHeader", None),
            ({"attachments": [FILE | {"content_type": "text"}]}, "InvalidAttachment", None),
            ({"attachments": [FILE] * 201}, "InvalidAttachment", None),
            ({"tag": "x" * 256}, "InvalidParameter", None),
            ({"tag": "a\nb"}, "InvalidParameter", None),
            ({"metadata": ["x"]}, "InvalidParameter", None),
            ({"metadata": {str(number): "x" for number in range(11)}}, "InvalidParameter", None),
            ({"track_opens": "perhaps"}, "InvalidParameter", None),
        ],
    )
    async def test_refuses_in_postals_words(self, changes: dict[str, Any], code: str, text: str | None) -> None:
        """Applications match on the code, people read the text, and the status stays 200."""
        api = await open_api()

        answer = await api.send(**changes)

        assert answer["status"] == "error"
        assert answer["data"]["code"] == code
        assert list(answer["data"]) == ["message", "code"]
        assert text is None or answer["data"]["message"] == text
        assert await api.here.take_jobs() == []

    async def test_only_the_first_problem_is_named(self) -> None:
        """Each correction brings up the next problem in Postal's order (outgoing_message_prototype.rb, validate)."""
        api = await open_api()
        many, bad = ["a@b.c"] * 51, [{"data": ""}]
        steps: list[tuple[str, dict[str, Any]]] = [
            ("NoRecipients", {}),
            ("TooManyToAddresses", {"to": many, "cc": many, "bcc": many}),
            ("TooManyCCAddresses", {"to": ["a@b.c"]}),
            ("TooManyBCCAddresses", {"cc": []}),
            ("NoContent", {"bcc": []}),
            ("FromAddressMissing", {"plain_body": "x"}),
            ("UnauthenticatedFromAddress", {"from": "a@other.test"}),
            ("AttachmentMissingName", {"from": "a@example.test"}),
            ("AttachmentMissingData", {"attachments": [{"name": "a"}]}),
        ]
        parameters: dict[str, Any] = {"attachments": bad}

        for code, changes in steps:
            parameters |= changes
            answer = await api.call("send/message", parameters)
            assert answer["data"]["code"] == code

    async def test_bcc_recipients_get_a_message_but_no_header(self) -> None:
        """Nobody may see who else got a blind copy."""
        api = await open_api()

        answer = await api.send(to="T <t@dest.test>", cc="c@dest.test", bcc=["Blind <b@dest.test>"])

        assert list(answer["data"]["messages"]) == ["t@dest.test", "c@dest.test", "b@dest.test"]
        raw = await api.sent_raw(answer)
        assert b"b@dest.test" not in raw
        assert b"Blind" not in raw

    async def test_quoted_names_with_commas_are_one_recipient(self) -> None:
        """Postal splits inside the quotes and sends to half a name."""
        api = await open_api()

        message = await sent(api, to='"Doe, Jane" <j@dest.test>, x@dest.test')

        assert [each.display_name for each in message["To"].addresses] == ["Doe, Jane", ""]

    async def test_an_address_named_twice_gets_one_message(self) -> None:
        """Postal sends two and answers with one."""
        api = await open_api()

        answer = await api.send(to=["a@dest.test", "A <a@dest.test>"], bcc="a@dest.test")

        assert list(answer["data"]["messages"]) == ["a@dest.test"]
        assert len(await api.here.take_jobs()) == 1

    async def test_text_in_any_language_arrives(self) -> None:
        """Subject, names, bodies and file names are text, not bytes."""
        api = await open_api()

        message = await sent(
            api,
            _from="Jörg Müller <app@example.test>",
            subject="Grüße 🎉",
            plain_body="Größe\n",
            attachments=[FILE | {"name": "Übersicht.txt"}],
        )

        assert message["Subject"] == "Grüße 🎉"
        assert message["From"].addresses[0].display_name == "Jörg Müller"
        texts = [part for part in message.walk() if part.get_content_maintype() == "text"]
        assert texts[0].get_content() == "Größe\r\n"
        assert texts[1].get_filename() == "Übersicht.txt"

    async def test_standard_fields_win_over_custom_headers(self) -> None:
        """As Postal sets custom headers first and its own over them."""
        api = await open_api()

        message = await sent(
            api, headers={"Subject": "custom", "From": "x@other.test", "X-Two": ["a", "b"], "Date": "d"}
        )

        assert message["Subject"] == "Hello"
        assert message.get_all("From") == ["App <app@example.test>"]
        assert message.get_all("X-Two") == ["a", "b"]
        assert str(message.get_all("Date")) == "['d']"

    async def test_what_the_body_decides_is_passed_over_among_custom_headers(self) -> None:
        """Libraries that hand over all headers of a mail they built send these too."""
        api = await open_api()
        theirs = {"MIME-Version": "1.0", "content-type": "text/html", "Content-Transfer-Encoding": "8bit"}

        message = await sent(api, headers=theirs)

        assert message.get_all("MIME-Version") == ["1.0"]
        assert message.get_all("Content-Type") == ['text/plain; charset="UTF-8"']
        assert message.get_all("Content-Transfer-Encoding") == ["7bit"]

    @pytest.mark.parametrize("name", ["Reply-To", "reply-to", "Cc", "Disposition-Notification-To"])
    @pytest.mark.parametrize("value", ['"Müller, Zoë" <z@b.test>, c@d.test', ['"Müller, Zoë" <z@b.test>', "c@d.test"]])
    async def test_custom_headers_with_addresses_keep_them(self, name: str, value: object) -> None:
        """Only a name may be encoded: an address in an encoded word is none (RFC 2047 §5 (3))."""
        api = await open_api()

        raw = await api.sent_raw(await api.send(headers={name: value}))

        [field] = email.message_from_bytes(raw).get_all(name, [])
        assert email.utils.getaddresses([field])[1] == ("", "c@d.test")
        assert "<z@b.test>" in field
        assert "=?utf-8?" in field

    async def test_a_custom_header_that_only_looks_like_addresses_stays_as_it_is(self) -> None:
        """An empty group is what a message to hidden recipients shows (RFC 5322 §3.4)."""
        api = await open_api()

        message = await sent(api, to=None, bcc="a@b.test", headers={"To": "undisclosed-recipients:;", "Reply-To": ""})

        assert message["To"] == "undisclosed-recipients:;"
        assert message["Reply-To"] == ""

    async def test_truth_values_among_custom_headers_become_words(self) -> None:
        """As Ruby writes them; null leaves a header out."""
        api = await open_api()

        message = await sent(api, headers={"X-Yes": True, "X-No": False, "X-Number": 1.5, "X-None": None})

        assert [message[f"X-{name}"] for name in ("Yes", "No", "Number", "None")] == ["true", "false", "1.5", None]

    async def test_an_inline_attachment_is_shown_by_its_content_id(self) -> None:
        """Without content_id the file name serves, so that ``cid:logo.png`` works."""
        api = await open_api()
        files = [
            FILE | {"name": "logo.png", "content_type": "image/png", "disposition": "inline"},
            FILE | {"content_id": "<two>"},
        ]

        message = await sent(api, html_body="<img src='cid:logo.png'>", attachments=files)

        found = [part["Content-ID"] for part in message.walk() if part.get_filename()]
        assert found == ["<logo.png>", "<two>"]
        assert "multipart/related" in [part.get_content_type() for part in message.walk()]

    async def test_attachments_that_are_no_objects_are_ignored(self) -> None:
        """As Postal does (legacy_api/send_controller.rb)."""
        api = await open_api()

        message = await sent(api, attachments=["x", None, FILE | {"data": "Zmls\nZQ"}])

        [part] = [part for part in message.walk() if part.get_filename()]
        assert part.get_payload(decode=True) == b"file"

    async def test_what_only_the_record_knows_is_stored(self) -> None:
        """Tag, metadata and tracking switches are not in the message, and bounce means a null sender."""
        api = await open_api()

        answer = await api.send(
            tag="welcome", metadata={"order": 12, "vip": True}, track_opens=False, track_clicks="yes", bounce=True
        )

        message = await api.here.message(answer["data"]["messages"]["user@dest.test"]["id"])
        assert (message.tag, message.metadata) == ("welcome", {"order": "12", "vip": "true"})
        assert (message.track_opens, message.track_clicks) == (False, True)
        assert (message.bounce, message.mail_from) == (True, "")
        assert (message.origin.via, message.origin.address) == (Via.HTTP, "192.0.2.7")
        assert message.credential_id == api.here.credential.id

    @pytest.mark.parametrize("meant", [False, None, 0, "", "false"])
    async def test_what_means_no_is_no_bounce(self, meant: object) -> None:
        """Ruby takes 0 for true, but Postal's database gives it back as false."""
        api = await open_api()

        answer = await api.send(bounce=meant)

        message = await api.here.message(answer["data"]["messages"]["user@dest.test"]["id"])
        assert (message.bounce, message.mail_from) == (False, "app@example.test")

    async def test_empty_lists_stand_for_empty_objects(self) -> None:
        """PHP writes both as ``[]``."""
        api = await open_api()

        assert (await api.send(metadata=[], headers=[], attachments={}))["status"] == "success"

    async def test_the_same_idempotency_key_sends_once(self) -> None:
        """A client that got no answer may ask again without sending twice."""
        api = await open_api()

        first = await api.send(http={"Idempotency-Key": "order-1"})
        again = await api.send(http={"Idempotency-Key": "order-1"})
        other = await api.send(http={"Idempotency-Key": "order-1"}, subject="Other")

        assert again["data"] == first["data"]
        assert other["data"]["code"] == "IdempotencyKeyReused"
        assert len(await api.here.take_jobs()) == 1

    @pytest.mark.parametrize("key", ["x" * 256, "é"])
    async def test_a_bad_idempotency_key_is_refused(self, key: str) -> None:
        """A key that were cut or re-encoded would be another key."""
        api = await open_api()

        answer = await api.client.post(
            "/api/v1/send/message",
            json={"to": "a@b.test", "from": "app@example.test", "plain_body": "x"},
            headers=[(b"idempotency-key", key.encode("latin-1"))],
        )

        assert answer.json()["data"]["code"] == "InvalidParameter"

    async def test_a_message_over_the_limit_is_refused(self) -> None:
        """The limit is the same as for SMTP."""
        api = await open_api(Settings(max_message_bytes=65536))

        answer = await api.send(plain_body="x" * 70_000)

        assert answer["data"]["code"] == "MessageTooLarge"

    async def test_a_large_message_is_built_in_a_thread(self) -> None:
        """Megabytes of base64 must not hold up the other requests; the result is the same."""
        api = await open_api()
        content = bytes(range(256)) * 4096

        message = await sent(api, attachments=[FILE | {"data": base64.b64encode(content).decode()}])

        [part] = [part for part in message.walk() if part.get_filename()]
        assert part.get_payload(decode=True) == content
