"""Every way to send, with the programs that people use: each reaches the recipient's exchanger, signed."""

import base64
import json
import random
import re
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from standalone.demo.sending import WELCOME
from standalone.demo.signatures import signatures
from tests.e2e.harness import DOMAIN, SENDER, Installation, until
from tests.e2e.programs import node_modules, opendkim_verdict, program, run, send_with_node, swaks, tls_proxy
from tests.fakes.mx_script import Transaction

pytestmark = pytest.mark.e2e

LARGE = random.Random(8).randbytes(8_000_000)


def _arrived(installation: Installation, recipient: str) -> Transaction:
    """Return the one copy that arrived, whose both signatures verify."""
    installation.until_delivered([recipient])
    (mail,) = installation.internet.to(recipient)
    found = signatures(mail.raw, installation.published())
    assert {each.algorithm for each in found} == {"rsa-sha256", "ed25519-sha256"}
    assert all(each.verified for each in found), found
    return mail


class TestAPI:
    def test_the_guides_example_works_as_written(self, installation: Installation) -> None:
        """Whoever moves from Postal pastes this request, field names and all."""
        answer = json.loads(
            run(
                *(program("curl"), "-sS", "-X", "POST", f"{installation.tree.url}/api/v1/send/message"),
                *("-H", f"X-Server-API-Key: {installation.secrets['api_key']}"),
                *("-H", "Content-Type: application/json", "--data", json.dumps(WELCOME)),
            )
        )

        mail = _arrived(installation, "user@example.com")

        assert answer["status"] == "success"
        message_id = answer["data"]["messages"]["user@example.com"]["id"]
        assert isinstance(message_id, int)
        (row,) = installation.until_status(message_id, "Sent")
        assert row["status"] == "Sent"
        head, _, body = mail.raw.partition(b"\r\n\r\n")
        assert re.search(rb"^Subject: Welcome to our app!\r?$", head, re.MULTILINE)
        assert re.search(rb"^Reply-To: <?support@yourdomain\.com>?\r?$", head, re.MULTILINE | re.IGNORECASE)
        assert re.search(rb"^X-Custom-Header: value\r?$", head, re.MULTILINE)
        assert b"Welcome! Thanks for signing up." in body
        assert b"<h1>Welcome!</h1>" in body

    def test_postals_client_for_node_works_unchanged(self, installation: Installation, tmp_path: Path) -> None:
        """Official clients are the contract: they send chunked bodies and type ids as integers."""
        with tls_proxy(installation.tree.ports["http"], tmp_path) as (port, certificate):
            ids = send_with_node(
                port, certificate, installation.secrets["api_key"], "node@example.com", SENDER, node_modules()
            )

        mail = _arrived(installation, "node@example.com")

        assert isinstance(ids["node@example.com"], int)
        assert b"textmessage.txt" in mail.raw


class TestSubmission:
    def test_swaks_sends_with_starttls_and_auth(self, installation: Installation) -> None:
        """The tool that postmasters test with."""
        conversation = swaks(
            installation.tree.ports["submission"], installation.secrets["smtp"], SENDER, "swaks@example.com"
        )

        mail = _arrived(installation, "swaks@example.com")

        assert "235 2.7.0" in conversation
        assert b"This is a test mailing" in mail.raw

    def test_curl_sends_over_implicit_tls(self, installation: Installation, tmp_path: Path) -> None:
        """Port 465 is what RFC 8314 recommends and many libraries use."""
        login = installation.secrets["smtp"]
        message = tmp_path / "message.eml"
        message.write_bytes(f"From: <{SENDER}>\r\nTo: curl@example.com\r\nSubject: curl\r\n\r\nHello\r\n".encode())

        run(
            *(program("curl"), "-sS", "--insecure", f"smtps://127.0.0.1:{installation.tree.ports['submissions']}"),
            *("--user", f"{login['username']}:{login['password']}", "--mail-from", SENDER),
            *("--mail-rcpt", "curl@example.com", "--upload-file", str(message)),
        )

        assert _arrived(installation, "curl@example.com").raw.endswith(b"\r\n\r\nHello\r\n")

    def test_smtplib_sends_to_several_recipients(self, installation: Installation) -> None:
        """Each recipient is a message of its own, and Bcc ones stay hidden from the others."""
        recipients = ["one@example.com", "two@example.net", "hidden@example.org"]
        message = f"From: {SENDER}\r\nTo: one@example.com\r\nBcc: hidden@example.org\r\nSubject: x\r\n\r\nHello\r\n"

        with installation.submission() as client:
            client.sendmail(SENDER, recipients, message)

        assert all(b"hidden@" not in _arrived(installation, each).raw.lower() for each in recipients[:2])
        assert b"bcc:" not in _arrived(installation, recipients[2]).raw.lower()


class TestSignatures:
    def test_opendkim_accepts_them(self, installation: Installation, tmp_path: Path) -> None:
        """A second, independent verifier; receivers run this one."""
        program("opendkim")
        installation.send("verifier@example.com", html_body="<p>ünïcode  and   spaces </p>\n\n\n")
        raw = _arrived(installation, "verifier@example.com").raw

        good = opendkim_verdict(raw, installation.published(), tmp_path)
        bad = opendkim_verdict(raw + b"appended\r\n", installation.published(), tmp_path)

        assert re.search(r"dkim=pass [^;]*header\.d=yourdomain\.com [^;]*header\.a=rsa-sha256", good)
        assert f"header.d={DOMAIN}" in bad
        assert "dkim=pass" not in bad

    def test_a_second_from_or_subject_breaks_them(self, installation: Installation) -> None:
        """Oversigned fields: a replayed copy cannot be given another author (RFC 6376 §8.15)."""
        installation.send("replay@example.com")
        raw = _arrived(installation, "replay@example.com").raw
        published = installation.published()

        for field in (b"From: ceo@yourdomain.com\r\n", b"Subject: Urgent\r\n", b"To: you@example.com\r\n"):
            assert not any(each.verified for each in signatures(field + raw, published)), field


class TestDeliveries:
    def test_history_tells_host_and_reply(self, installation: Installation) -> None:
        """What Postal's clients read: details, output and whether TLS was used."""
        message_id = installation.send("history@example.com")

        rows = until(lambda: installation.api().deliveries(message_id), "a delivery")

        assert [row["status"] for row in rows] == ["Sent"]
        assert "history@example.com" in rows[0]["details"]
        assert rows[0]["output"].startswith("250")
        assert rows[0]["sent_with_ssl"] is False


def ask(url: str, content: bytes, headers: Mapping[str, str], *, method: str = "POST") -> Any:
    """Return the JSON of a good answer, None for an empty one."""
    request = Request(url, content, dict(headers), method=method)  # noqa: S310  # a loopback URL
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


def put(installation: Installation, place: Mapping[str, Any], content: bytes) -> None:
    """PUT as the answer to ``/api/v2/uploads`` says."""
    # The ports of a test are not those of its public URL.
    url = place["url"].replace("http://localhost:8080", installation.tree.url)
    ask(url, content, place["headers"], method=place["method"])


class TestLargeSend:
    def test_an_uploaded_request_arrives_whole(self, installation: Installation) -> None:
        """8 MB of attachment are 11 MB of JSON: too much for Lambda, and the way past it is the same everywhere."""
        api = installation.api()
        attachment = {"name": "a.bin", "content_type": "application/x-a", "data": base64.b64encode(LARGE).decode()}
        request = {"to": ["large@example.com"], "from": SENDER, "plain_body": "Hi.", "attachments": [attachment]}
        content = json.dumps(request).encode()
        headers = {"Content-Type": "application/json", "X-Server-API-Key": api.key}
        place = ask(f"{api.url}/api/v2/uploads", json.dumps({"size_bytes": len(content)}).encode(), headers)
        put(installation, place, content)

        said = api.call("send/message", {"upload": place["id"]}, headers={"Idempotency-Key": "large"})
        again = api.call("send/message", {"upload": place["id"]}, headers={"Idempotency-Key": "large"})

        assert said == again
        mail = _arrived(installation, "large@example.com")
        (found,) = [part for part in message_from_bytes(mail.raw).walk() if part.get_filename() == "a.bin"]
        assert found.get_payload(decode=True) == LARGE
