"""Mail for routes, taken on port 25 and carried on: to HTTP endpoints, hosts and addresses."""

import base64
import contextlib
import json
import smtplib
from collections import Counter
from collections.abc import Iterator, Mapping
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from shared.domain.bounce.reading import read_bounce
from shared.domain.webhook_signature import plain_signature
from tests.e2e.harness import DOMAIN, Installation, running, until
from tests.e2e.test_webhooks import Receiver

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-routes")]

SENDER = "ann@example.net"
MAIL = (
    b"From: Ann <ann@example.net>\r\nTo: support@yourdomain.com\r\nSubject: Help\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <%b@example.net>\r\n\r\nIt is broken.\r\n"
)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that may reach receivers on this machine, and whose retries come at once."""
    networks = "http:127.0.0.0/8,smtp:127.7.0.0/24"
    settings = {"allow_networks": networks, "time_factor": "300", "postmaster": f"operator@{DOMAIN}"}
    with running(tmp_path_factory.mktemp("routes"), **settings) as made:
        # Ann's domain says that this machine may send for her; no other domain does.
        made.internet.publish("example.net", MX=[[10, "mx1.test"]], TXT=["v=spf1 ip4:127.0.0.1 -all"])
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An application that lives as long as the test."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def route(installation: Installation, name: str, *words: str) -> dict[str, str]:
    """Make a route by the command line."""
    server = installation.secrets["server"]["permalink"]
    return dict(installation.tree.run("route", "create", f"{name}@{DOMAIN}", "--server", server, *words))


def deliver(installation: Installation, name: str, unique: str, *, sender: str = SENDER, head: bytes = b"") -> bytes:
    """Bring a mail to port 25 as some host does, and return it."""
    raw = head + MAIL.replace(b"%b", unique.encode())
    with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], local_hostname="mx.example.net") as client:
        assert client.sendmail(sender, [f"{name}@{DOMAIN}"], raw) == {}
    return raw


class TestOperator:
    def test_whoever_writes_to_postmaster_or_abuse_reaches_them(
        self, installation: Installation, receiver: Receiver
    ) -> None:
        """RFC 5321 §4.5.1; the endpoint wants a login, which stands in no list."""
        with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], local_hostname="mx.example.net") as client:
            client.helo()
            client.mail(SENDER)
            before = client.docmd("RCPT", "TO:<postmaster>")
        made = route(installation, "operator", "--http", receiver.url.replace("://", "://ann:s%40cret@"))

        for number, address in enumerate(("<postmaster>", "<abuse@rp.localhost>", "<Postmaster@routes.localhost>")):
            with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], local_hostname="mx.example.net") as client:
                client.helo()
                client.mail(SENDER)
                assert client.docmd("RCPT", f"TO:{address}") == (250, b"2.1.5 OK")
                assert client.data(MAIL.replace(b"%b", b"operator-%d" % number))[0] == 250
        taken = until(lambda: len(receiver.taken) == 3 and list(receiver.taken), "three mails")

        assert before[0] == 451
        assert Counter(json.loads(body)["rcpt_to"] for _, body in taken) == {
            f"operator+postmaster@{DOMAIN}": 2,
            f"operator+abuse@{DOMAIN}": 1,
        }
        login = base64.b64encode(b"ann:s@cret").decode()
        assert {headers["authorization"] for headers, _ in taken} == {f"Basic {login}"}
        assert "ann:" not in json.dumps(made)


class TestHTTPEndpoint:
    def test_gets_the_mail_signed_once_it_is_up_and_only_once(
        self, installation: Installation, receiver: Receiver
    ) -> None:
        """Down for some attempts; then once, with the same body and id as before."""
        receiver.answer = 503
        made = route(installation, "hash", "--http", receiver.url)

        deliver(installation, "hash", "hash")
        until(lambda: len(receiver.taken) >= 2, "two attempts")
        receiver.answer = 200
        until(lambda: status(installation, receiver) == "Sent", "the mail to be sent")

        tries = len(receiver.taken)
        assert len({(headers["webhook-id"], body) for headers, body in receiver.taken}) == 1
        headers, body = receiver.taken[-1]
        found = json.loads(body)
        assert (found["rcpt_to"], found["mail_from"], found["plain_body"]) == (
            f"hash@{DOMAIN}",
            SENDER,
            "It is broken.\n",
        )
        assert headers["x-edgepost-signature"] == plain_signature(made["secret"], body)
        assert headers["x-postal-signature-256"]
        rows = installation.api().deliveries(found["id"])
        assert [each["status"] for each in rows] == ["SoftFail"] * (tries - 1) + ["Sent"]
        assert rows[-1]["details"] == f"Received a 200 from {receiver.url}"

    def test_forms_and_raw_mail(self, installation: Installation, receiver: Receiver) -> None:
        """The other encodings; tag and case of the address are the sender's."""
        route(installation, "raw", "--http", receiver.url, "--format", "RawMessage", "--encoding", "FormData")

        raw = deliver(installation, "Raw+tag", "raw")
        [(headers, body)] = until(lambda: list(receiver.taken), "the mail")

        assert headers["content-type"] == "application/x-www-form-urlencoded"
        found = {name: value for name, [value] in parse_qs(body.decode()).items()}
        assert list(found) == ["id", "rcpt_to", "mail_from", "message", "base64", "size"]
        sent = base64.b64decode(found["message"])
        assert sent.endswith(raw)
        assert int(found["size"]) == len(sent)
        assert b"\r\nAuthentication-Results: " in sent

    def test_each_endpoint_gets_a_copy_of_its_own(self, installation: Installation, receiver: Receiver) -> None:
        """Postal: one message for each; what happens to one changes nothing for the others."""
        down = Receiver()
        down.answer = 500
        route(installation, "both", "--http", receiver.url, "--http", down.url, "--address", "copy@example.com")

        deliver(installation, "both", "both")
        until(lambda: receiver.taken and len(down.taken) > 1 and installation.internet.to("copy@example.com"), "copies")

        assert len(receiver.taken) == 1
        assert json.loads(receiver.taken[0][1])["id"] != json.loads(down.taken[0][1])["id"]
        down.answer = 200
        down.server.shutdown()
        down.server.server_close()


class TestSMTPEndpoint:
    def test_gets_the_mail_for_the_address_it_was_sent_to(self, installation: Installation) -> None:
        """A named host in place of the MX."""
        host = installation.internet.exchanger("corp.test")
        route(installation, "host", "--smtp", f"{host.host}:{host.port}", "--tls", "none")

        raw = deliver(installation, "host", "host")
        [arrived] = until(lambda: installation.internet.to(f"host@{DOMAIN}"), "the mail at the host")

        assert arrived.raw.endswith(raw)
        assert b"Delivered-To: host@yourdomain.com\r\n" in arrived.raw

    def test_starttls_means_tls_or_nothing(self, installation: Installation) -> None:
        """Postal sends in clear there; ours waits, and nothing is said in clear."""
        host = installation.internet.exchanger("plain.test")
        route(installation, "secure", "--smtp", f"{host.host}:{host.port}")

        deliver(installation, "secure", "secure")
        until(lambda: len(host.sessions) >= 2, "two attempts")

        assert host.transactions == []


class TestAddressEndpoint:
    def test_is_sealed_and_bounces_come_back_to_us(self, installation: Installation) -> None:
        """The next host sees what we saw of Ann, and SPF of the envelope is ours."""
        route(installation, "away", "--address", "ann.home@example.com")

        raw = deliver(installation, "away", "away")
        [arrived] = until(lambda: installation.internet.to("ann.home@example.com"), "the mail at its new address")

        assert arrived.raw.startswith(b"ARC-Seal: i=1; a=rsa-sha256;")
        assert arrived.raw.endswith(raw)
        assert "@rp." in arrived.mail
        assert b"spf=pass smtp.mailfrom=ann@example.net" in arrived.raw.partition(b"ARC-Authentication-Results")[2]

    def test_mail_that_was_here_before_ends(self, installation: Installation) -> None:
        """Two addresses that lead to each other: our own mark is seen, and Ann is told."""
        route(installation, "loop", "--address", "never@example.com")

        deliver(installation, "loop", "loop", head=b"Delivered-To: loop@yourdomain.com\r\n")
        [bounce] = until(lambda: bounces(installation, b"<loop@example.net>"), "the bounce")

        assert installation.internet.to("never@example.com") == []
        assert b"Status: 5.4.6" in bounce


class TestBounce:
    def test_a_proved_sender_is_told_and_no_other(self, installation: Installation) -> None:
        """Bob's domain does not say that this machine may send for him."""
        route(installation, "gone", "--mode", "Bounce")

        deliver(installation, "gone", "forged", sender="bob@example.org")
        deliver(installation, "gone", "auto", head=b"Auto-Submitted: auto-replied\r\n")
        deliver(installation, "gone", "null", sender="")
        deliver(installation, "gone", "proved")
        [bounce] = until(lambda: bounces(installation, b"<proved@example.net>"), "the bounce")

        [transaction] = [each for each in installation.internet.to(SENDER) if each.raw == bounce]
        assert transaction.mail.startswith("<>")
        [report] = read_bounce(bounce).bounced
        assert report.recipient == f"gone@{DOMAIN}"
        assert message_from_bytes(bounce, policy=policy.default).get_content_type() == "multipart/report"
        assert b"DKIM-Signature: " in bounce
        assert installation.internet.to("bob@example.org") == []
        assert not any(bounces(installation, name) for name in (b"<auto@example.net>", b"<null@example.net>"))


class TestHold:
    def test_held_mail_is_listed_released_and_processed(self, installation: Installation) -> None:
        """The commands for outgoing mail do for incoming mail too."""
        route(installation, "held", "--mode", "Hold")
        server = installation.secrets["server"]["permalink"]

        deliver(installation, "held", "held")
        [waiting] = until(
            lambda: installation.tree.run("message", "held", "--server", server)["messages"], "the held mail"
        )
        installation.tree.run("message", "release", str(waiting["id"]), "--server", server)

        until(lambda: installation.status(waiting["id"]) == "Processed", "the mail to be processed")


def status(installation: Installation, receiver: Receiver) -> str:
    """Return what has become of the mail that the receiver was given."""
    return installation.status(json.loads(receiver.taken[-1][1])["id"])


def bounces(installation: Installation, name: bytes) -> list[bytes]:
    """Return the mails to Ann that answer a Message-ID."""
    return [each.raw for each in installation.internet.to(SENDER) if b"In-Reply-To: " + name in each.raw]


@pytest.mark.slow
class TestKill:
    def test_every_250_reaches_the_application_once_through_kills(self, tmp_path: Path, receiver: Receiver) -> None:
        """Kill -9 of consumers and receivers between mails: nothing is lost, and what comes twice has the same id."""
        with running(tmp_path, allow_networks="http:127.0.0.0/8", time_factor="300") as installation:
            route(installation, "kill", "--http", receiver.url)
            taken: list[str] = []
            for number in range(40):
                if number in (10, 25):
                    installation.kill_part("consumers")
                if number == 20:
                    installation.kill_part("receive")
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    deliver(installation, "kill", f"kill{number}")
                    taken.append(f"kill{number}@example.net")

            until(lambda: set(taken) <= names(receiver), "all that was answered with 250", timeout_s=90)

        by_id = Counter(json.loads(body)["message_id"] for _, body in receiver.taken)
        ids = {(headers["webhook-id"], json.loads(body)["message_id"]) for headers, body in receiver.taken}
        assert len(taken) >= 30
        assert len(ids) == len(by_id)  # one message each, however often it was tried


@pytest.mark.slow
class TestOnAWS:
    def test_mail_for_an_endpoint_travels_through_sqs(
        self, on_aws: Mapping[str, str], tmp_path: Path, receiver: Receiver
    ) -> None:
        """The same on DynamoDB, S3 and SQS as the emulator knows them: down at first, then taken once."""
        receiver.answer = 503
        settings = {"allow_networks": "http:127.0.0.0/8", "time_factor": "300"}
        with running(tmp_path, **{**on_aws, **settings}) as installation:
            route(installation, "aws", "--http", receiver.url)
            deliver(installation, "aws", "aws")
            until(lambda: len(receiver.taken) >= 2, "two attempts")
            receiver.answer = 200
            until(lambda: status(installation, receiver) == "Sent", "the mail to be sent")

        assert len({(headers["webhook-id"], body) for headers, body in receiver.taken}) == 1


def names(receiver: Receiver) -> set[str]:
    """Return the Message-IDs of the mails that the receiver was given."""
    return {json.loads(body)["message_id"] for _, body in list(receiver.taken)}
