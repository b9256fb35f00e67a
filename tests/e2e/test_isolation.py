"""Tenants see nothing of each other, repeated requests change nothing, and secrets are written nowhere."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from standalone.demo.sending import NotSent
from tests.e2e.harness import SENDER, Installation

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def neighbour(installation: Installation) -> Mapping[str, Any]:
    """Another organization's server, with its own domain and keys."""
    run = installation.tree.run
    organization = run("org", "create", "Neighbour")
    server = run("server", "create", "Next door", "--organization", organization["permalink"])
    run("domain", "add", "neighbour.test", "--server", server["permalink"], "--trusted")
    api = run("credential", "create", "--server", server["permalink"], "--type", "API")
    smtp = run("credential", "create", "--server", server["permalink"], "--type", "SMTP")
    return {"server": server, "api": api["key"], "smtp": {"username": server["permalink"], "password": smtp["key"]}}


class TestTenants:
    @pytest.mark.parametrize("path", ["messages/message", "messages/deliveries"])
    def test_another_tenants_message_looks_unknown(
        self, installation: Installation, neighbour: Mapping[str, Any], path: str
    ) -> None:
        """An answer that differs tells that the id exists."""
        message_id = installation.send("mine@example.com")
        unknown = message_id + 1

        answers = []
        for asked in (message_id, unknown):
            with pytest.raises(NotSent) as refused:
                installation.api(neighbour["api"]).call(path, {"id": asked})
            answers.append(str(refused.value).replace(str(asked), "ID"))

        assert "MessageNotFound" in answers[0]
        assert answers[0] == answers[1]

    def test_another_tenants_domain_cannot_be_used(
        self, installation: Installation, neighbour: Mapping[str, Any]
    ) -> None:
        """Neither door lets one tenant write as another."""
        with pytest.raises(NotSent, match="UnauthenticatedFromAddress"):
            installation.send("spoof@example.com", key=neighbour["api"])
        raw = base64.b64encode(f"From: {SENDER}\r\nSubject: x\r\n\r\nx\r\n".encode()).decode()
        with pytest.raises(NotSent, match="UnauthenticatedFromAddress"):
            installation.api(neighbour["api"]).call(
                "send/raw", {"rcpt_to": ["spoof@example.com"], "mail_from": SENDER, "data": raw}
            )
        with installation.submission(login=neighbour["smtp"]) as client:
            client.mail(SENDER)
            client.rcpt("spoof@example.com")
            code, _ = client.data(f"From: {SENDER}\r\nSubject: x\r\n\r\nx\r\n")

        assert 500 <= code < 600
        assert not installation.internet.to("spoof@example.com")

    def test_a_key_opens_its_own_kind_of_door_only(
        self, installation: Installation, neighbour: Mapping[str, Any]
    ) -> None:
        """An SMTP password that leaks from a printer must not open the API."""
        with pytest.raises(NotSent, match="InvalidServerAPIKey"):
            installation.api(neighbour["smtp"]["password"]).send({"to": ["x@example.com"]})

    def test_the_neighbour_can_send_as_itself(self, installation: Installation, neighbour: Mapping[str, Any]) -> None:
        """The refusals above are about the sender, not about the neighbour."""
        sender = "hello@neighbour.test"
        installation.send("fromnextdoor@example.com", key=neighbour["api"], **{"from": sender})

        installation.until_delivered(["fromnextdoor@example.com"])

        (mail,) = installation.internet.to("fromnextdoor@example.com")
        assert b"d=neighbour.test" in mail.raw
        assert b"yourdomain.com" not in mail.raw


class TestIdempotency:
    def test_a_repeated_request_gets_the_same_ids(self, installation: Installation) -> None:
        """A client that never saw the answer repeats; the recipient gets one mail."""
        ids = {installation.send("again@example.com", idempotency_key="key-1") for _ in range(5)}
        installation.until_delivered(["again@example.com"])
        ids.add(installation.send("again@example.com", idempotency_key="key-1"))
        installation.until_status(next(iter(ids)), "Sent")

        assert len(ids) == 1
        assert len(installation.internet.to("again@example.com")) == 1

    def test_the_key_of_another_request_is_refused(self, installation: Installation) -> None:
        """A key used for two different messages is a mistake that must not swallow the second."""
        installation.send("first@example.com", idempotency_key="key-2")

        with pytest.raises(NotSent, match=r"(?i)idempotency"):
            installation.send("second@example.com", idempotency_key="key-2")

    def test_keys_of_two_tenants_are_apart(self, installation: Installation, neighbour: Mapping[str, Any]) -> None:
        """Keys are the client's own words: two clients may choose the same."""
        sender = {"from": "hello@neighbour.test"}
        mine = installation.send("shared@example.com", idempotency_key="key-3")
        theirs = installation.send("shared@example.com", key=neighbour["api"], idempotency_key="key-3", **sender)

        assert mine != theirs

    def test_the_header_works_over_smtp(self, installation: Installation) -> None:
        """Every feature works the same through both doors, and the header does not leave the house."""
        message = f"From: {SENDER}\r\nSubject: once\r\nIdempotency-Key: smtp-1\r\n\r\nHello\r\n"
        for _ in range(3):
            with installation.submission() as client:
                client.sendmail(SENDER, ["smtponce@example.com"], message)

        installation.until_delivered(["smtponce@example.com"])

        (mail,) = installation.internet.to("smtponce@example.com")
        assert b"idempotency-key" not in mail.raw.lower()


class TestSecrets:
    def test_no_key_is_kept_or_logged(self, installation: Installation, neighbour: Mapping[str, Any]) -> None:
        """A stolen backup or log must not be a stolen key; keys are stored as hashes (first-run.json aside)."""
        first = installation.secrets
        installation.send("secret@example.com")
        with installation.submission() as client:
            client.sendmail(SENDER, ["secret@example.com"], f"From: {SENDER}\r\nSubject: x\r\n\r\nx\r\n")
        with pytest.raises(NotSent):
            installation.send("secret@example.com", key=first["api_key"] + "x")
        issued = [
            *(first["api_key"], first["smtp"]["password"], first["admin"]["password"], first["admin_token"]),
            *(neighbour["api"], neighbour["smtp"]["password"]),
        ]
        assert all(len(each) >= 12 for each in issued)
        encoded = [base64.b64encode(each.encode()) for each in issued]

        files = [each for each in installation.tree.data_dir.rglob("*") if each.is_file()]
        found = [
            file.name
            for file in (*files, installation.tree.log)
            if file.name != "first-run.json"
            for content in [file.read_bytes()]
            for secret in (*(each.encode() for each in issued), *encoded)
            if secret in content
        ]

        assert len(files) > 2
        assert not found

    def test_private_keys_are_wrapped(self, installation: Installation) -> None:
        """The database alone signs nothing: keys are wrapped by the master key, which lies beside it."""
        files = [each for each in installation.tree.data_dir.rglob("*") if each.is_file() and "tls" not in str(each)]

        assert not [each.name for each in files if b"PRIVATE KEY" in each.read_bytes()]

    def test_files_with_secrets_are_the_owners_only(self, installation: Installation) -> None:
        """Other users of the machine read neither the first secrets nor the master key."""
        modes = {name: (installation.tree.data_dir / name).stat().st_mode for name in ("first-run.json", "master.key")}

        assert not [name for name, mode in modes.items() if mode & 0o077]
