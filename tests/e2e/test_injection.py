"""Injection and smuggling through the whole tree: what is on the wire is what was asked for, and nothing else."""

import base64
import re
import smtplib

import pytest

from standalone.demo.sending import NotSent
from tests.e2e.harness import SENDER, Installation

pytestmark = pytest.mark.e2e

BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")

ENDS = {
    "lf-dot-lf": b"\n.\n",
    "cr-dot-cr": b"\r.\r",
    "cr-dot-lf": b"\r.\n",
    "lf-dot-cr": b"\n.\r",
    "lf-dot-crlf": b"\n.\r\n",
    "crlf-dot-lf": b"\r\n.\n",
    "cr-dot-crlf": b"\r.\r\n",
    "crlf-dot-cr": b"\r\n.\r",
    "nul-before": b"\r\n\0.\r\n",
    "nul-after": b"\r\n.\0\r\n",
    "crlf-dot-crlf": b"\r\n.\r\n",
}
"""What some server somewhere takes for the end of DATA (VU#302671), and the one that is."""

EVIL = b"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"

BREAKS = {
    "lf": "\n",
    "cr": "\r",
    "crlf": "\r\n",
    "crlf-space": "\r\n ",
    "vt": "\v",
    "ff": "\f",
    "nel": "\x85",
    "ls": "\u2028",
    "nul": "\0",
    "blank-line": "\r\n\r\n",
    "encoded": "=?utf-8?q?=0A?=",
    "encoded-crlf": "=?utf-8?b?DQpCY2M6IGV2aWxAZXZpbC50ZXN0?=",
}


def _sendable(name: str, installation: Installation, **fields: object) -> bool:
    """Send and return whether it was accepted: refusing and encoding are both right."""
    try:
        installation.send(f"{name}@example.com", **fields)
    except NotSent:
        return False
    return True


def _check_wire(installation: Installation, recipient: str) -> bytes:
    """Return the one mail that arrived for a recipient, as it was on the wire, after checking its form."""
    installation.until_delivered([recipient])
    (mail,) = installation.internet.to(recipient)
    assert mail.rcpts == [recipient]
    assert not BARE_LINE_END.search(mail.wire)
    assert b"\r\n.\r\n" not in mail.wire
    assert b"\0" not in mail.wire
    return mail.raw


def _check_nobody_else(installation: Installation) -> None:
    """Fail if any command on the wire named somebody whom nobody asked for."""
    for exchanger in installation.internet.exchangers:
        for session in exchanger.sessions:
            assert not [each for each in session.commands if "victim" in each or "evil" in each]
    for mail in installation.internet.transactions():
        head = mail.raw.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nbcc:" not in head
        assert b"\r\nx-evil:" not in head


class TestSmuggling:
    @pytest.mark.parametrize("end", ENDS)
    def test_text_of_the_api_stays_one_message(self, installation: Installation, end: str) -> None:
        """A body may hold anything; the wire has CRLF only and dots stuffed (CVE-2023-51764 and its kin)."""
        text = "before" + (ENDS[end] + EVIL).decode() + "after"
        name = f"plain-{end}"
        if _sendable(name, installation, plain_body=text, html_body=f"<p>{text}</p>"):
            _check_wire(installation, f"{name}@example.com")
        _check_nobody_else(installation)

    @pytest.mark.parametrize("end", ENDS)
    def test_raw_messages_of_the_api_stay_one_message(self, installation: Installation, end: str) -> None:
        """Raw mail is normalised before it is checked and signed, never after."""
        recipient = f"raw-{end}@example.com"
        raw = f"From: {SENDER}\r\nTo: {recipient}\r\nSubject: raw\r\n\r\nbefore".encode() + ENDS[end] + EVIL
        request = {"rcpt_to": [recipient], "mail_from": SENDER, "data": base64.b64encode(raw).decode()}
        try:
            installation.api().call("send/raw", request)
        except NotSent:
            pass
        else:
            _check_wire(installation, recipient)
        _check_nobody_else(installation)

    @pytest.mark.parametrize("door", ["submission", "submissions"])
    @pytest.mark.parametrize("end", ENDS)
    def test_submission_takes_one_message_or_none(self, installation: Installation, end: str, door: str) -> None:
        """Only CRLF.CRLF ends DATA; what follows anything else must never be run as commands (CVE-2024-27305)."""
        recipient = f"{door}-{end}@example.com"
        raw = f"From: {SENDER}\r\nTo: {recipient}\r\nSubject: smtp\r\n\r\nbefore".encode() + ENDS[end] + EVIL
        client = installation.submission(door)
        client.mail(SENDER)
        client.rcpt(recipient)
        assert client.docmd("DATA")[0] == 354

        client.send(raw)
        code = _reply(client)
        client.close()

        if 200 <= code < 300:
            _check_wire(installation, recipient)
        _check_nobody_else(installation)


def _reply(client: smtplib.SMTP) -> int:
    try:
        return client.getreply()[0]
    except (OSError, smtplib.SMTPServerDisconnected):
        return 0


class TestHeaderInjection:
    @pytest.mark.parametrize("field", ["subject", "reply_to", "tag", "from_name", "header_value", "header_name"])
    @pytest.mark.parametrize("line_break", BREAKS)
    def test_no_field_can_add_another(self, installation: Installation, line_break: str, field: str) -> None:
        """CVE-2024-6923: an encoded subject becomes a real Bcc on this very Python if the library is trusted."""
        value = f"hi{BREAKS[line_break]}Bcc: victim@example.com{BREAKS[line_break]}X-Evil: 1"
        fields: dict[str, object] = {
            "subject": {"subject": value},
            "reply_to": {"reply_to": value},
            "tag": {"tag": value},
            "from_name": {"from": f'"{value}" <{SENDER}>'},
            "header_value": {"headers": {"X-Mine": value}},
            "header_name": {"headers": {f"X-Mine{BREAKS[line_break]}Bcc: victim@example.com\r\nX-Evil": "1"}},
        }[field]
        name = f"{field}-{line_break}"

        if _sendable(name, installation, **fields):
            raw = _check_wire(installation, f"{name}@example.com")
            assert raw.endswith(b"\r\n\r\nHello\r\n") or b"\r\n\r\nHello" in raw

        _check_nobody_else(installation)


class TestAddressInjection:
    @pytest.mark.parametrize(
        "address",
        [
            "a@example.com>\r\nRCPT TO:<victim@example.com",
            "a@example.com\r\nRCPT TO:<victim@example.com>",
            '"a\r\nRCPT TO:<victim@example.com>"@example.com',
            "a@example.com\0",
            "a@example.com\x85RCPT TO:<victim@example.com>",
            "a@example.com\u2028RCPT TO:<victim@example.com>",
            "a@example.com> SIZE=1 ORCPT=rfc822;victim@example.com",
            "a@b>c@example.com",
            "<@evil.test,@evil.test:victim@example.com>",
            "victim%example.com@[127.0.0.1]",
            "victim@example.com@example.net",
            "victim@",
            "@example.com",
        ],
    )
    @pytest.mark.parametrize("field", ["to", "raw"])
    def test_a_recipient_is_one_address_or_refused(self, installation: Installation, address: str, field: str) -> None:
        """CVE-2026-53533: a client library that truncates such an address delivers to somebody else."""
        before = {recipient for mail in installation.internet.transactions() for recipient in mail.rcpts}
        raw = base64.b64encode(f"From: {SENDER}\r\nSubject: x\r\n\r\nx\r\n".encode()).decode()
        try:
            if field == "to":
                message = {"to": [address], "from": SENDER, "subject": "x", "plain_body": "x"}
                answered = installation.api().call("send/message", message)["messages"]
            else:
                request = {"rcpt_to": [address], "mail_from": SENDER, "data": raw}
                answered = installation.api().call("send/raw", request)["messages"]
        except NotSent:
            answered = {}

        installation.until_delivered(list(answered))

        after = {recipient for mail in installation.internet.transactions() for recipient in mail.rcpts}
        assert after - before <= set(answered)
        assert "victim@example.com" not in after


class TestIdentity:
    @pytest.mark.parametrize(
        "head",
        [
            f"From: {SENDER}\r\nFrom: ceo@other.test\r\n",
            f"From: {SENDER}, ceo@other.test\r\n",
            "From: ceo@other.test\r\n",
            f"From : ceo@other.test\r\nX-From: {SENDER}\r\n",
            f'From: "{SENDER}" <ceo@other.test>\r\n',
            f"From: {SENDER})ceo@other.test\r\n",
            f"From: {SENDER}\r\nSender: ceo@other.test\r\n",
            f"From: group: {SENDER}, ceo@other.test;\r\n",
            f"Subject: hi\nFrom: ceo@other.test\r\nFrom: {SENDER}\r\n",
            "Subject: nobody\r\n",
        ],
    )
    @pytest.mark.parametrize("door", ["api", "smtp"])
    def test_only_own_domains_can_be_shown(self, installation: Installation, head: str, door: str) -> None:
        """Whatever any mail program could show as the author must be the tenant's (CVE-2023-27043)."""
        raw = (head + "To: identity@example.com\r\n\r\nx\r\n").encode()
        with pytest.raises((NotSent, smtplib.SMTPException)):
            _send_raw(installation, door, raw, "identity@example.com")

        assert not installation.internet.to("identity@example.com")


def _send_raw(installation: Installation, door: str, raw: bytes, recipient: str) -> None:
    if door == "api":
        data = base64.b64encode(raw).decode()
        installation.api().call("send/raw", {"rcpt_to": [recipient], "mail_from": SENDER, "data": data})
        return
    with installation.submission() as client:
        client.sendmail(SENDER, [recipient], raw)


class TestRelay:
    @pytest.mark.parametrize(
        "recipient",
        [
            "victim@example.com",
            "victim%example.com@yourdomain.com",
            "@yourdomain.com,@example.com:victim@example.com",
            "example.com!victim@yourdomain.com",
            '"victim@example.com"@yourdomain.com',
            "victim@[127.0.0.1]",
            "victim@example.com@yourdomain.com",
            "victim@",
            "victim",
        ],
    )
    def test_strangers_may_not_send_to_strangers(self, installation: Installation, recipient: str) -> None:
        """An open relay is on every blocklist within a day."""
        with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], timeout=30) as client:
            client.ehlo("stranger.test")
            client.mail("evil@evil.test")
            code, _ = client.docmd(f"RCPT TO:<{recipient}>")

        assert 500 <= code < 600

    def test_no_mail_without_login(self, installation: Installation) -> None:
        """Submission ports are for customers only, encrypted or not."""
        with smtplib.SMTP("127.0.0.1", installation.tree.ports["submission"], timeout=30) as client:
            client.ehlo("stranger.test")
            code, _ = client.docmd(f"MAIL FROM:<{SENDER}>")
            code = client.docmd("RCPT TO:<victim@example.com>")[0] if code == 250 else code

        assert 500 <= code < 600
