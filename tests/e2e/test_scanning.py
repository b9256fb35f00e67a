"""Real rspamd, SpamAssassin and ClamAV beside a whole installation: what they say decides what becomes of mail."""

import base64
import contextlib
import json
import smtplib
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.e2e.harness import DOMAIN, Installation, running, until
from tests.e2e.receiver import Receiver
from tests.e2e.scanning_programs import AWFUL_WORD, EICAR, GTUBE, Scanner, clamd, rspamd, spamd

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-scanning")]

PLAIN = b"It is broken.\r\n"
VIRUS = (
    b"See the file.\r\n--b\r\nContent-Type: application/octet-stream; name=x.com\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(EICAR) + b"\r\n--b--\r\n"
)
REFUSED_SPAM = (550, b"5.7.1 Message refused as spam")
REFUSED_THREAT = (550, b"5.7.1 Message refused, a virus scanner found a threat in it")


@pytest.fixture(scope="module")
def virus_scanner() -> Iterator[Scanner]:
    """Give a clamd that both installations ask."""
    with clamd() as made:
        yield made


@pytest.fixture(scope="module")
def with_rspamd(tmp_path_factory: pytest.TempPathFactory, virus_scanner: Scanner) -> Iterator[Installation]:
    """Give an installation beside rspamd; the spamd that it is told of too is not there."""
    with rspamd() as spam_filter:
        settings = spam_filter.settings | virus_scanner.settings | {"spamd": "127.0.0.1:9"}
        with running(tmp_path_factory.mktemp("rspamd"), allow_networks="127.0.0.0/8", **settings) as made:
            yield made


@pytest.fixture(scope="module")
def with_spamd(tmp_path_factory: pytest.TempPathFactory, virus_scanner: Scanner) -> Iterator[Installation]:
    """Give an installation beside SpamAssassin."""
    with spamd() as spam_filter:
        settings = spam_filter.settings | virus_scanner.settings
        with running(tmp_path_factory.mktemp("spamd"), allow_networks="127.0.0.0/8", **settings) as made:
            yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give an application that lives as long as the test."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def route(installation: Installation, name: str, receiver: Receiver, *words: str) -> str:
    """Make a route to an application; return its address."""
    words = ("--server", permalink(installation), "--http", receiver.url, "--format", "RawMessage", *words)
    installation.tree.run("route", "create", f"{name}@{DOMAIN}", *words)
    return f"{name}@{DOMAIN}"


def permalink(installation: Installation) -> str:
    """Return the first server's."""
    return str(installation.secrets["server"]["permalink"])


def bring(installation: Installation, address: str, body: bytes) -> tuple[int, bytes]:
    """Bring a mail to port 25 and return what is answered after the final dot."""
    kind = b"multipart/mixed; boundary=b" if b"--b--" in body else b"text/plain"
    raw = (
        b"From: Ann <ann@example.net>\r\nTo: Support <%s>\r\nSubject: Help with the machine\r\n"
        b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <%d.%d@example.net>\r\n"
        b"X-Postal-Spam: no\r\nX-Postal-Threat: no\r\nX-Postal-Spam-Score: -99\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: %s\r\n\r\n"
    ) % (address.encode(), len(body), hash(address) & 0xFFFF, kind)
    raw += (b"--b\r\n\r\n" if b"--b--" in body else b"") + body
    with smtplib.SMTP("127.0.0.1", installation.tree.ports["smtp"], local_hostname="mx.example.net") as client:
        client.ehlo()
        assert client.mail("ann@example.net")[0] == 250
        assert client.rcpt(address)[0] == 250
        return client.data(raw)


def given(receiver: Receiver) -> tuple[Mapping[str, Any], bytes]:
    """Wait for the one mail that the application is given; return the request and the mail."""
    [(_, body)] = until(lambda: list(receiver.taken), "the mail at the application")
    request = json.loads(body)
    return request, base64.b64decode(request["message"])


def shown(installation: Installation, message_id: int) -> Mapping[str, Any]:
    """Return a message as the command line shows it."""
    return dict(installation.tree.run("message", "show", str(message_id), "--server", permalink(installation)))


def message_id(answer: tuple[int, bytes]) -> int:
    """Return the id in the answer to the final dot."""
    assert answer[0] == 250, answer
    return int(answer[1].split()[-1])


def figures(installation: Installation) -> str:
    """Return the installation's figures."""
    headers = {"Authorization": f"Bearer {installation.secrets['metrics_token']}"}
    port = int(installation.tree.url.rpartition(":")[2])
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse().read().decode()


class TestRspamd:
    def test_good_mail_is_marked_as_such(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """What the sender claims is replaced by what rspamd says."""
        address = route(with_rspamd, "good", receiver)

        taken = message_id(bring(with_rspamd, address, PLAIN))
        _, raw = given(receiver)

        assert raw.count(b"X-Postal-Spam") == 3
        assert b"X-Postal-Spam: no\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: 0.0\r\n" in raw
        assert raw.count(b"X-Postal-Threat: no\r\n") == 1
        assert shown(with_rspamd, taken)["inspection"] == {
            "inspected": True,
            "spam_status": "NotSpam",
            "spam_score": 0.0,
            "threat": None,
        }

    def test_its_test_mail_is_spam(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """The score at which rspamd itself rejects: above one threshold, below the other."""
        address = route(with_rspamd, "gtube", receiver)

        taken = message_id(bring(with_rspamd, address, GTUBE.encode() + b"\r\n"))
        _, raw = given(receiver)

        assert b"X-Postal-Spam: yes\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: 15.0\r\n" in raw
        assert shown(with_rspamd, taken)["inspection"]["spam_status"] == "Spam"

    def test_quarantine_keeps_it_until_a_person_lets_it_go(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """Held, nothing at the application; then released."""
        address = route(with_rspamd, "quarantine", receiver, "--spam-mode", "Quarantine")

        taken = message_id(bring(with_rspamd, address, GTUBE.encode() + b"\r\n"))
        [row] = with_rspamd.until_status(taken, "Held")
        assert (row["details"], receiver.taken) == ("Message placed into quarantine.", [])
        with_rspamd.tree.run("message", "release", str(taken), "--server", permalink(with_rspamd))

        with_rspamd.until_status(taken, "Sent")
        assert b"X-Postal-Spam: yes\r\n" in given(receiver)[1]

    def test_a_route_may_fail_it(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """The sender hears it at once."""
        address = route(with_rspamd, "fail", receiver, "--spam-mode", "Fail")

        assert bring(with_rspamd, address, GTUBE.encode() + b"\r\n") == REFUSED_SPAM
        assert receiver.taken == []

    def test_the_worst_is_refused_and_told_by_webhook(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """At the failure threshold, whatever the route says; its owner learns of it."""
        events = Receiver()
        address = route(with_rspamd, "awful", receiver)
        with_rspamd.tree.run("webhook", "create", "--server", permalink(with_rspamd), "--url", events.url)

        assert bring(with_rspamd, address, b"Please buy-my-pills\r\n") == REFUSED_SPAM
        assert AWFUL_WORD == "buy-my-pills"

        def failures() -> list[dict[str, Any]]:
            return [each["payload"] for each in events.bodies() if each["event"] == "MessageDeliveryFailed"]

        [payload] = until(failures, "the webhook")
        assert payload["output"] == "AWFUL_WORD=25.0"
        assert payload["details"].endswith("Threshold is currently 20.0.")
        assert (payload["message"]["to"], payload["message"]["spam_status"]) == (address, "Spam")
        assert receiver.taken == []
        assert with_rspamd.internet.to("ann@example.net") == []
        events.server.shutdown()
        events.server.server_close()

    def test_outgoing_mail_is_scanned_where_there_is_a_threshold(self, with_rspamd: Installation) -> None:
        """By the command line; the API says what was found."""
        words = ("server", "update", permalink(with_rspamd), "--outbound-spam-threshold")
        assert with_rspamd.tree.run(*words, "8")["outbound_spam_threshold"] == 8.0

        [row] = until_failed(with_rspamd, "spam@example.com", f"Please {AWFUL_WORD}")
        good = with_rspamd.send("good@example.com", plain_body="Your order is on its way.")
        with_rspamd.until_status(good, "Sent")

        assert row["details"] == "Message is likely spam. Threshold is 8.0 and the message scored 25.0."
        assert row["output"] == "AWFUL_WORD=25.0"
        assert with_rspamd.internet.to("spam@example.com") == []
        assert with_rspamd.tree.run(*words, "none")["outbound_spam_threshold"] is None


class TestSpamd:
    def test_its_test_mail_is_refused(self, with_spamd: Installation, receiver: Receiver) -> None:
        """A thousand points."""
        address = route(with_spamd, "gtube", receiver)

        assert bring(with_spamd, address, GTUBE.encode() + b"\r\n") == REFUSED_SPAM
        assert receiver.taken == []

    def test_good_mail_goes_on_with_its_checks(self, with_spamd: Installation, receiver: Receiver) -> None:
        """Score and rules stand in its header."""
        address = route(with_spamd, "good", receiver)

        taken = message_id(bring(with_spamd, address, PLAIN))
        _, raw = given(receiver)

        inspection = shown(with_spamd, taken)["inspection"]
        assert inspection["spam_status"] == "NotSpam"
        assert b"X-Postal-Spam: no\r\n" in raw
        assert b"X-Postal-Spam-Score: %s\r\n" % str(inspection["spam_score"]).encode() in raw
        assert b"\r\nX-Edgepost-Spam-Checks: " in raw

    def test_outgoing_mail_is_not_judged_by_how_it_came_here(self, with_spamd: Installation) -> None:
        """The customer's good mail passes a threshold near zero; the test mail does not."""
        words = ("server", "update", permalink(with_spamd), "--outbound-spam-threshold")
        with_spamd.tree.run(*words, "5")

        [row] = until_failed(with_spamd, "spam@example.com", GTUBE)
        good = with_spamd.send("good@example.com", plain_body="Your order is on its way, with all that you asked for.")
        with_spamd.until_status(good, "Sent")

        assert row["output"].startswith("GTUBE=1000.0, ")
        inspection = shown(with_spamd, good)["inspection"]
        assert (inspection["inspected"], inspection["spam_status"]) == (True, "NotSpam")
        assert with_spamd.internet.to("spam@example.com") == []
        with_spamd.tree.run(*words, "none")


class TestClamd:
    def test_a_virus_is_refused_and_kept(self, with_spamd: Installation, receiver: Receiver) -> None:
        """No endpoint gets it; the record names it."""
        address = route(with_spamd, "virus", receiver)

        assert bring(with_spamd, address, VIRUS) == REFUSED_THREAT
        assert bring(with_spamd, address, VIRUS) == REFUSED_THREAT

        [line] = log_lines(with_spamd, "message_failed_at_once", "threat")
        found = shown(with_spamd, line["message_id"])
        assert (found["status"], found["inspection"]["threat"]) == ("HardFail", "Eicar-Test-Signature.UNOFFICIAL")
        assert receiver.taken == []

    def test_a_large_clean_mail_passes(self, with_rspamd: Installation, receiver: Receiver) -> None:
        """18 MB are handed to both scanners in pieces."""
        address = route(with_rspamd, "large", receiver)

        taken = message_id(bring(with_rspamd, address, b"A line of text that is nothing special.\r\n" * 450_000))

        assert shown(with_rspamd, taken)["inspection"]["spam_status"] == "NotSpam"
        assert given(receiver)[1].count(b"X-Postal-Threat: no\r\n") == 1

    def test_outgoing_viruses_stay_here(self, with_rspamd: Installation) -> None:
        """Where outgoing mail is scanned at all."""
        words = ("server", "update", permalink(with_rspamd), "--outbound-spam-threshold")
        with_rspamd.tree.run(*words, "50")
        file = {"name": "x.com", "content_type": "application/octet-stream", "data": base64.b64encode(EICAR).decode()}

        [row] = until_failed(with_rspamd, "virus@example.com", "See the file.", attachments=[file])

        assert row["details"] == "Message contains a threat: Eicar-Test-Signature.UNOFFICIAL."
        assert with_rspamd.internet.to("virus@example.com") == []
        with_rspamd.tree.run(*words, "none")

    def test_without_it_mail_flows_and_everybody_can_see_why(
        self, with_spamd: Installation, virus_scanner: Scanner, receiver: Receiver
    ) -> None:
        """The last test of this file: clamd is killed."""
        address = route(with_spamd, "unscanned", receiver)
        virus_scanner.stop()

        taken = message_id(bring(with_spamd, address, VIRUS))
        _, raw = given(receiver)

        assert b"X-Postal-Threat" not in raw
        assert b"X-Postal-Spam: no\r\n" in raw or b"X-Postal-Spam: yes\r\n" in raw
        assert shown(with_spamd, taken)["inspection"]["threat"] is None
        until(
            lambda: 'edgepost_scans_total{result="unreachable",scanner="clamd"} 1.0' in figures(with_spamd),
            "the figure",
        )
        [line] = log_lines(with_spamd, "scan_failed")
        assert (line["scanner"], line["result"], line["level"]) == ("clamd", "unreachable", "warning")


def until_failed(installation: Installation, recipient: str, body: str, **fields: Any) -> list[Mapping[str, Any]]:
    """Send a message and return the rows of its failure."""
    return list(installation.until_status(installation.send(recipient, plain_body=body, **fields), "HardFail"))


def log_lines(installation: Installation, event: str, reason: str = "") -> list[Mapping[str, Any]]:
    """Return the log lines of that name, each message once."""
    lines = [json.loads(line) for line in installation.tree.log.read_text().splitlines() if f'"{event}"' in line]
    return list({each.get("message_id"): each for each in lines if reason in each.get("reason", "")}.values())
