"""What HTTP endpoints are sent, byte for byte, and how replies are told from what they quote."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from shared.domain.ids import MessageId, ServerId
from shared.domain.inbound_payload import inbound_body
from shared.domain.message import Direction, Message, Origin, SpamStatus, Via
from shared.domain.reply_separator import separate
from shared.domain.routes import Encoding, HTTPTarget, PayloadFormat

URL = "https://app.example.com/mail"
RAW = (
    b"From: =?UTF-8?Q?J=C3=BCrgen?= <j@sender.test>\r\nTo: support@example.test\r\nReply-To: a@sender.test\r\n"
    b"Subject: Re: <Help>\r\nDate: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <q@sender.test>\r\n"
    b"In-Reply-To: <one@example.test>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nIt works & is <good>.\r\n\r\n"
    b"On Wed, 31 Dec 2025, Support wrote:\r\n> Does it work?\r\n"
    b'\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename="a.txt"\r\n\r\n'
    + b"0123456789" * 6
    + b"\r\n--b--\r\n"
)
MESSAGE = Message(
    server_id=ServerId(7),
    id=MessageId(1000 << 12 | 5),
    token="abcdefghijklmnop",
    direction=Direction.INCOMING,
    rcpt_to="support@example.test",
    mail_from="j@sender.test",
    subject="Re: <Help>",
    message_id="q@sender.test",
    body_key="7/1",
    size_bytes=len(RAW),
    origin=Origin(Via.ESMTPS),
)

HASH = (
    '{"id":4096005,"rcpt_to":"support@example.test","mail_from":"j@sender.test","token":"abcdefghijklmnop",'
    '"subject":"Re: \\u003cHelp\\u003e","message_id":"q@sender.test","timestamp":1735689601.0,"size":"SIZE",'
    '"spam_status":"NotChecked","bounce":false,"received_with_ssl":true,"to":"support@example.test","cc":null,'
    '"from":"Jürgen \\u003cj@sender.test\\u003e","date":"Thu, 01 Jan 2026 12:00:00 +0000",'
    '"in_reply_to":"\\u003cone@example.test\\u003e","references":null,"html_body":null,"attachment_quantity":1,'
    '"auto_submitted":null,"reply_to":["a@sender.test"],'
    '"plain_body":"It works \\u0026 is \\u003cgood\\u003e.\\n\\n'
    'On Wed, 31 Dec 2025, Support wrote:\\n\\u003e Does it work?\\n",'
    '"attachments":[{"filename":"a.txt","content_type":"text/plain","size":60,'
    '"data":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0\\nNTY3ODkwMTIzNDU2Nzg5\\n"}]}'
).replace("SIZE", str(len(RAW)))


class TestHash:
    def test_is_postals_byte_for_byte(self) -> None:
        """Fields, order, types and escapes of app/senders/http_sender.rb: programs compare and verify bytes."""
        assert inbound_body(MESSAGE, RAW, HTTPTarget(URL)).decode() == HASH

    def test_is_the_same_on_every_attempt(self) -> None:
        """A receiver that compares bodies must not take a retry for another mail."""
        assert inbound_body(MESSAGE, RAW, HTTPTarget(URL)) == inbound_body(MESSAGE, RAW, HTTPTarget(URL))

    def test_leaves_attachments_out_but_counts_them(self) -> None:
        """include_attachments false: the quantity still tells."""
        found = json.loads(inbound_body(MESSAGE, RAW, HTTPTarget(URL, attachments=False)))

        assert "attachments" not in found
        assert found["attachment_quantity"] == 1

    def test_gives_quoted_text_apart(self) -> None:
        """strip_replies: the reply, and what it quotes under a name of its own."""
        found = json.loads(inbound_body(MESSAGE, RAW, HTTPTarget(URL, strip_replies=True)))

        assert found["plain_body"] == "It works & is <good>."
        assert found["replies_from_plain_body"] == "On Wed, 31 Dec 2025, Support wrote:\n> Does it work?"

    def test_a_scan_shows(self) -> None:
        """spam_status is Postal's word."""
        marked = Message(
            **{name: getattr(MESSAGE, name) for name in MESSAGE.__slots__} | {"spam_status": SpamStatus.SPAM}
        )

        assert json.loads(inbound_body(marked, RAW, HTTPTarget(URL)))["spam_status"] == "Spam"

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\r\n",
            b"no header",
            b"Subject: \xff\xfe\r\n\r\n\xff",
            b"From: a\r\nContent-Type: multipart/mixed; boundary=\r\n\r\n--",
        ],
    )
    def test_takes_whatever_came(self, raw: bytes) -> None:
        """Mail is written by others: a body that is none must not stay in the queue for ever."""
        for encoding in Encoding:
            assert inbound_body(MESSAGE, raw, HTTPTarget(URL, encoding))


class TestForm:
    def test_is_flat_as_postals(self) -> None:
        """URI.encode_www_form: null is a name alone, a list repeats its name, attachments are numbered."""
        body = inbound_body(MESSAGE, RAW, HTTPTarget(URL, Encoding.FORM)).decode()

        assert body.startswith(
            "id=4096005&rcpt_to=support%40example.test&mail_from=j%40sender.test&token=abcdefghijklmnop&"
        )
        assert "&cc&from=J%C3%BCrgen+%3Cj%40sender.test%3E&" in body
        assert "&bounce=false&received_with_ssl=true&" in body
        assert "&reply_to=a%40sender.test&" in body
        found = parse_qs(body, keep_blank_values=True)
        assert found["attachments[0][filename]"] == ["a.txt"]
        assert found["attachments[0][size]"] == ["60"]
        assert b64decode(found["attachments[0][data]"][0]) == b"0123456789" * 6

    def test_escapes_as_ruby_does(self) -> None:
        """Ruby leaves ``*`` and escapes ``~``; a signature is over these bytes."""
        raw = b"From: a~b*c@x.test\r\n\r\n"

        assert b"from=a%7Eb*c%40x.test" in inbound_body(MESSAGE, raw, HTTPTarget(URL, Encoding.FORM))


class TestRawMessage:
    def test_is_postals_byte_for_byte(self) -> None:
        """The mail itself, in lines of 60 characters."""
        target = HTTPTarget(URL, format=PayloadFormat.RAW)

        assert inbound_body(MESSAGE, b"From: a\r\n\r\n" + b"x" * 40, target).decode() == (
            '{"id":4096005,"rcpt_to":"support@example.test","mail_from":"j@sender.test",'
            '"message":"RnJvbTogYQ0KDQp4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\\neHh4eHh4\\n","base64":true,"size":51}'
        )

    def test_gives_the_bytes_back(self) -> None:
        """Nothing of the mail is changed, whatever bytes it has."""
        raw = bytes(range(256)) * 3

        assert (
            b64decode(json.loads(inbound_body(MESSAGE, raw, HTTPTarget(URL, format=PayloadFormat.RAW)))["message"])
            == raw
        )


class TestSeparate:
    @pytest.mark.parametrize(
        "quoted",
        [
            "-- \nAnn\nSales",
            "----- Original Message -----\nFrom: b",
            "From: Bob\nSent: Monday\nhello",
            "> From: Bob\n> Date: Monday",
            "From: Bob\nDate: Monday",
            "-----Ursprüngliche Nachricht----- Von",
            "Le lundi 3 janvier 2026, Bob a écrit :",
            "__________________\nfooter",
            "On Mon, 3 Jan 2026 at 10:00, Bob <b@x.test> wrote:\n> hi",
            "Sent from my iPhone",
            "=== Please reply above this line ===\nold",
            "\n".join(["> line"] * 12),
        ],
    )
    def test_knows_postals_forms(self, quoted: str) -> None:
        """Each of the patterns of app/lib/reply_separator.rb (``From … Date`` also without quote marks)."""
        if quoted.startswith("> From"):
            quoted = quoted.replace("> Date", "Date")

        reply, taken = separate(f"Thank you.\n\n{quoted}\n")

        assert (reply, taken) == ("Thank you.", quoted)

    def test_keeps_nine_quoted_lines(self) -> None:
        """Inline answers quote a little; only a long quotation is taken."""
        text = "\n".join(["> line"] * 9) + "\nyes"

        assert separate(text) == (text, None)

    def test_no_text_is_an_empty_reply(self) -> None:
        """Postal gives an empty text there, not null."""
        assert separate(None) == ("", None)

    @pytest.mark.parametrize(
        "text",
        [
            "\n" * 1_000_000,
            "> " * 300_000,
            ">" * 500_000,
            "On " * 300_000,
            "From:\n" * 150_000,
            "Le" + "a" * 500_000,
            "_" * 17 + "\n" * 500_000,
        ],
    )
    def test_hostile_text_takes_no_time(self, text: str) -> None:
        """Nested repetition over line ends would take hours: the suite would never end."""
        reply, taken = separate(text)

        assert len(reply) + len(taken or "") <= len(text)


def test_dates_are_the_ids() -> None:
    """The timestamp is when the mail was taken, to the millisecond."""
    assert MESSAGE.accepted_at == datetime(2025, 1, 1, 0, 0, 1, tzinfo=UTC)
