"""``edgepost webhook``: documents that programs rely on, and secrets that are shown once."""

import base64

import pytest

from cli.moments import moment
from shared.domain.errors import InvalidValue
from tests.fakes.clock import FakeClock
from tests.unit.test_cli_commands import data_dir, fails, run, say, server

__all__ = ["data_dir", "server"]

URL = "https://hooks.example.com/x"


def made(server: str, *more: str) -> str:
    """Make an endpoint and return its id."""
    return str(run("webhook", "create", "--server", server, "--url", URL, *more)["id"])


class TestWebhook:
    def test_create_prints_id_and_secret_and_nothing_shows_the_secret_again(self, server: str) -> None:
        """The names of these two are fixed."""
        document = run("webhook", "create", "--server", server, "--url", URL, "--events", "MessageSent,MessageOpened")

        assert set(document) == {"id", "secret"}
        prefix, _, key = document["secret"].partition("_")
        assert (prefix, len(base64.b64decode(key))) == ("whsec", 32)
        [row] = run("webhook", "list", "--server", server)["webhooks"]
        shown = run("webhook", "show", str(document["id"]), "--server", server)
        assert row["events"] == shown["events"] == ["MessageDelivered", "MessageOpened"]
        assert document["secret"] not in say("webhook", "show", str(document["id"]), "--server", server)

    def test_refuses_what_leads_inside(self, server: str) -> None:
        """Until the operator opens the network."""
        arguments = ["webhook", "create", "--server", server, "--url", "http://127.0.0.1:3000/"]

        assert fails(*arguments)[0] == "InvalidValue"

    def test_allowed_networks_count(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Development happens on one machine."""
        monkeypatch.setenv("EDGEPOST_ALLOW_NETWORKS", "http:127.0.0.0/8")

        assert run("webhook", "create", "--server", server, "--url", "http://localhost:3000/")["id"]

    def test_is_changed_disabled_and_deleted(self, server: str) -> None:
        """What is not given stays."""
        endpoint = made(server, "--header", "Authorization: Bearer sesame")

        changed = run("webhook", "update", endpoint, "--server", server, "--disable", "--events", "MessageBounced")

        assert (changed["enabled"], changed["events"], changed["url"]) == (False, ["MessageBounced"], URL)
        assert changed["headers"] == ["Authorization"]
        assert changed["disabled_reason"] == "Disabled by hand."
        assert run("webhook", "update", endpoint, "--server", server, "--enable")["enabled"] is True
        assert run("webhook", "delete", endpoint, "--server", server) == {"deleted": int(endpoint)}
        for command in ("show", "delete", "attempts", "replay", "rotate-secret", "test"):
            assert fails("webhook", command, endpoint, "--server", server)[0] == "NotFound"

    def test_rotation_gives_a_new_secret(self, server: str) -> None:
        """And says how long the other one signs."""
        first = run("webhook", "create", "--server", server, "--url", URL)

        second = run("webhook", "rotate-secret", str(first["id"]), "--server", server)

        assert second["secret"] != first["secret"]
        assert run("webhook", "show", str(first["id"]), "--server", server)["previous_secret_until"]

    def test_postals_dialect_has_its_events_only(self, server: str) -> None:
        """What would never be sent is refused."""
        assert made(server, "--dialect", "postal", "--events", "MessageSent,DomainDNSError")
        arguments = ["webhook", "create", "--server", server, "--url", URL, "--dialect", "postal"]
        assert fails(*arguments, "--events", "SpamComplaint")[0] == "InvalidValue"

    def test_nothing_to_show_is_nothing(self, server: str) -> None:
        """A new endpoint has no history."""
        endpoint = made(server)

        assert run("webhook", "attempts", endpoint, "--server", server) == {"attempts": []}
        assert run("webhook", "replay", endpoint, "--server", server) == {"replayed": 0}

    def test_test_says_what_came_back(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host that does not answer is bad news, not an error."""
        monkeypatch.setenv("EDGEPOST_ALLOW_NETWORKS", "http:127.0.0.0/8")
        url = "http://127.0.0.1:9/"  # RFC 863: nobody discards here
        endpoint = str(run("webhook", "create", "--server", server, "--url", url)["id"])

        document = run("webhook", "test", endpoint, "--server", server, status=1)

        assert (document["delivered"], document["status"]) == (False, None)
        assert document["answer"]


class TestMoment:
    def test_so_long_ago_or_exactly(self) -> None:
        """As people say it, and as programs do."""
        now = FakeClock()()

        assert (now - moment("90m", now)).total_seconds() == 5400
        assert moment("2026-01-01T13:00:00+02:00", now).hour == 11
        for wrong in ("yesterday", "5", "2026-01-01T13:00:00", "-3d"):
            with pytest.raises(InvalidValue):
                moment(wrong, now)
