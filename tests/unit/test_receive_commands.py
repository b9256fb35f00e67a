"""The arguments of MAIL and RCPT, and of AUTH."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_node.receive import replies
from smtp_node.receive.commands import Sender, parse_mail, parse_recipient
from smtp_node.receive.login import ASK_NOTHING, ASK_PASSWORD, ASK_USERNAME, read_key
from smtp_node.receive.replies import Reply
from tests.dialogue.wire import plain

LIMIT = 1000


class TestParseMail:
    @pytest.mark.parametrize(
        ("argument", "expected"),
        [
            ("FROM:<a@example.com>", Sender("a@example.com", utf8=False)),
            ("from: <a@EXAMPLE.com>", Sender("a@example.com", utf8=False)),
            ("FROM:a@example.com", Sender("a@example.com", utf8=False)),
            ("FROM:<>", Sender("", utf8=False)),
            ("FROM:<> SMTPUTF8", Sender("", utf8=True)),
            ("FROM:<a@example.com> SIZE=1000 body=8bitmime AUTH=<>", Sender("a@example.com", utf8=False)),
            ("FROM:<ä@bücher.example> SMTPUTF8", Sender("ä@xn--bcher-kva.example", utf8=True)),
            ("FROM:<a@example.com> SIZE=1001", replies.too_large(LIMIT)),
            ("FROM:<a@example.com> SIZE=" + "9" * 99, replies.too_large(LIMIT)),
            ("FROM:<a@example.com> SIZE=1e3", replies.BAD_PARAMETER),
            ("FROM:<a@example.com> SIZE=\u0661", replies.BAD_PARAMETER),
            ("FROM:<a@example.com> =x", replies.BAD_PARAMETER),
            ("FROM:<a@example.com> ENVID=x", replies.UNKNOWN_PARAMETER),
            ("FROM:<a@example.com>SIZE=1", replies.BAD_SENDER),
            ("FROM:<a@example.com> <b@example.com>", replies.BAD_PARAMETER),
            ("FROM: ", replies.BAD_SENDER),
            ("", replies.BAD_SENDER),
        ],
    )
    def test_reads_senders_and_parameters(self, argument: str, expected: Sender | Reply) -> None:
        """One exact answer for each form."""
        assert parse_mail(argument, limit_bytes=LIMIT) == expected

    @given(st.text(max_size=80))
    def test_never_fails(self, text: str) -> None:
        """Whatever stands behind the colon, the client gets an answer."""
        assert isinstance(parse_mail("FROM:" + text, limit_bytes=LIMIT), Sender | Reply)
        assert isinstance(parse_recipient("TO:" + text, utf8=True), str | Reply)


class TestReadKey:
    @pytest.mark.parametrize(
        ("mechanism", "initial", "lines", "expected"),
        [
            ("PLAIN", plain("key"), [], "key"),
            ("PLAIN", None, [plain("key")], "key"),
            ("PLAIN", plain("k\0ey"), [], replies.AUTH_PROTOCOL_ERROR),
            ("PLAIN", "====", [], replies.BAD_BASE64),
            ("PLAIN", None, ["*"], replies.AUTH_ABORTED),
            ("LOGIN", None, ["dXNlcg==", "a2V5"], "key"),
            ("LOGIN", "dXNlcg==", ["a2V5"], "key"),
            ("LOGIN", "=", ["a2V5"], "key"),
            ("LOGIN", None, ["ä"], replies.BAD_BASE64),
            ("CRAM-MD5", None, [], replies.UNKNOWN_MECHANISM),
        ],
    )
    async def test_reads_each_form(
        self, mechanism: str, initial: str | None, lines: list[str], expected: str | Reply
    ) -> None:
        """RFC 4954 §4 and what clients really send."""
        waiting = [line.encode() for line in lines]

        async def ask(challenge: Reply) -> bytes:
            assert challenge in {ASK_NOTHING, ASK_USERNAME, ASK_PASSWORD}
            return waiting.pop(0)

        assert await read_key(mechanism, initial, ask) == expected
        assert waiting == []
