"""All mail through a relay that demands TLS and a password: a real Postfix, as providers run for their customers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from standalone.demo.signatures import signatures
from standalone.demo.tree import Tree
from tests.e2e.harness import DOMAIN, Installation, until
from tests.e2e.internet import NETWORK, Internet
from tests.e2e.postfix_relay import ADDRESS, NAME, PASSWORD, USER, Relay, postfix_relay
from tests.fakes.mx_script import Transaction

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-smart-host")]


@pytest.fixture(scope="module")
def beyond() -> Iterator[Internet]:
    """The internet as the relay sees it."""
    with Internet() as internet:
        yield internet


@pytest.fixture(scope="module")
def relay(beyond: Internet) -> Iterator[Relay]:
    """The provider's Postfix."""
    with postfix_relay(beyond.usual.host, beyond.usual.port) as found:
        yield found


@contextmanager
def _installation(
    directory: Path,
    relay: Relay,
    *,
    password: str = PASSWORD,
    implicit: bool = False,
    trusted: bool = True,
    address: str = ADDRESS,
) -> Iterator[Installation]:
    """Run an installation that sends through the relay; retries come after a second instead of five minutes."""
    login = f"{quote(USER, safe='')}:{quote(password, safe='')}"
    starttls, tls = f"{NAME}:{relay.starttls_port}?tls=starttls", f"{NAME}:{relay.tls_port}"
    with pytest.MonkeyPatch.context() as environment, Internet() as internet:
        internet.publish(NAME, A=[address])
        settings = {
            "first_domain": DOMAIN,
            "time_factor": "300",
            "smart_host": f"smtps://{login}@{tls}" if implicit else f"smtp://{login}@{starttls}",
            "dns_servers": f"127.0.0.1:{internet.dns_port}",
            # Direct delivery would succeed, so that a test sees it.
            "delivery_port": str(internet.mx_port),
            "allow_networks": f"smtp:{NETWORK}.0/24",
        }
        environment.delenv("SSL_CERT_FILE", raising=False)
        if trusted:
            environment.setenv("SSL_CERT_FILE", str(relay.authority))
        with Tree(directory / "data", settings) as tree:
            yield Installation(tree, internet)
            # Killed instead, it would leave its work claimed for half a minute.
            tree.stop()


def _until_at(beyond: Internet, recipient: str) -> Transaction:
    """Return the one copy of a mail that came out behind the relay."""
    until(lambda: beyond.to(recipient), f"{recipient}'s mail behind the relay")
    (mail,) = beyond.to(recipient)
    return mail


def _until_tried(installation: Installation, message_id: int, times: int) -> list[str]:
    """Wait for so many attempts and return what all of them said."""
    rows = until(
        lambda: len(found := installation.api().deliveries(message_id)) >= times and found,
        f"{times} attempts",
    )
    assert {row["status"] for row in rows} == {"SoftFail"}
    return [f"{row['details']} {row['output']}" for row in rows]


class TestSmartHost:
    @pytest.mark.parametrize("implicit", [False, True])
    def test_mail_goes_through_it_and_stays_signed(
        self, relay: Relay, beyond: Internet, tmp_path: Path, implicit: bool
    ) -> None:
        """Where port 25 is blocked this is the only way out, and DMARC depends on our signature alone."""
        recipient = f"signed-{implicit}@example.com"

        with _installation(tmp_path, relay, implicit=implicit) as installation:
            message_id = installation.send(
                recipient, subject="Grüße", plain_body="Grüße\n.\nEnde", html_body="<p>Grüße</p>"
            )
            mail = _until_at(beyond, recipient)
            (row,) = installation.until_status(message_id, "Sent")
            found = signatures(mail.raw, installation.published())

        assert [(each.algorithm, each.verified) for each in found] == [("rsa-sha256", True), ("ed25519-sha256", True)]
        received = b" ".join(mail.raw.partition(b"\r\nDKIM-Signature:")[0].split())
        assert f"(Authenticated sender: {USER}) by {NAME} (Postfix) with ESMTPSA".encode() in received
        assert row["sent_with_ssl"] is True
        assert not installation.internet.transactions()

    def test_wrong_password_is_tried_again_and_loses_nothing(
        self, relay: Relay, beyond: Internet, tmp_path: Path
    ) -> None:
        """A password that the provider changed is the operator's to correct, not a reason to bounce a day's mail."""
        recipient = "password@example.com"

        with _installation(tmp_path, relay, password="wrong") as installation:
            message_id = installation.send(recipient)
            said = _until_tried(installation, message_id, 2)

        assert all("535 5.7.8" in text for text in said)
        assert not any("wrong" in text or PASSWORD in text for text in said)
        assert not beyond.to(recipient)

        with _installation(tmp_path, relay) as installation:
            _until_at(beyond, recipient)
            installation.until_status(message_id, "Sent")

    def test_untrusted_certificate_sends_nothing_until_it_is_trusted(
        self, relay: Relay, beyond: Internet, tmp_path: Path
    ) -> None:
        """Whoever sits between us and the relay must get neither password nor mail (RFC 8314 §3)."""
        recipient = "untrusted@example.com"
        before = relay.log.read_text().count("sasl")

        with _installation(tmp_path, relay, trusted=False) as installation:
            message_id = installation.send(recipient)
            said = _until_tried(installation, message_id, 2)

        assert all("certificate" in text for text in said)
        assert relay.sessions() >= 2
        assert relay.log.read_text().count("sasl") == before
        assert not beyond.to(recipient)

        with _installation(tmp_path, relay) as installation:
            _until_at(beyond, recipient)
            installation.until_status(message_id, "Sent")

    def test_relay_that_is_away_delays_mail(self, relay: Relay, tmp_path: Path) -> None:
        """There is no second way: mail that goes out directly comes from an address that nobody trusts."""
        with _installation(tmp_path, relay, address="127.7.1.2") as installation:
            message_id = installation.send("away@example.com")
            said = _until_tried(installation, message_id, 2)
            went_directly = installation.internet.transactions()

        assert all(NAME in text for text in said)
        assert not went_directly
