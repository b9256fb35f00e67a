"""What the command line prints, without a store."""

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest
import typer

from cli.main import app
from cli.moments import moment
from cli.printing import Answer, print_answer, print_error
from cli.route_documents import route_for_people
from cli.trial import trial_message
from cli.welcome import domain_hint, reachable, welcome
from shared.domain.errors import InvalidValue
from shared.domain.first_secrets import Secrets
from shared.domain.headers import check_bytes
from shared.flow.initialize import FirstRun
from shared.settings import Settings
from shared.store.installation import Installation

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def first_run(secrets: Secrets | None) -> FirstRun:
    """Return what a first start made."""
    installation = Installation(
        id="i",
        initialized_at=NOW,
        admin_email="admin@localhost",
        organization="default",
        server_id=7,
        server="main",
        domain="example.test",
        admin_token_hash="",
        metrics_token_hash="",
        master_key_check="",
    )
    return FirstRun(installation, secrets, secrets.admin_token if secrets else None, created=True)


SECRETS = Secrets("i", "password", "admin-token", "metrics-token", "api-key", "smtp-password")
PORTS = {"http": 8081, "submission": 2588}


class TestWelcome:
    def test_example_can_be_pasted(self) -> None:
        """The first thing a new operator does is to paste it into a shell."""
        text = welcome(first_run(SECRETS), PORTS, settings=Settings())
        start = text.index("curl")
        words = shlex.split(text[start : text.index("\n\n", start)].replace("\\\n", ""))
        assert words[1] == "http://127.0.0.1:8081/api/v1/send/message"
        assert "X-Server-API-Key: api-key" in words
        assert json.loads(words[words.index("-d") + 1])["from"] == "Edgepost <hello@example.test>"
        assert "smtp-password" in text
        assert "127.0.0.1:2588" in text

    def test_without_the_file_no_secret_is_there_to_print(self) -> None:
        """It says so instead of printing None."""
        text = welcome(first_run(None), PORTS, settings=Settings())
        assert "no longer" in text
        assert "None" not in text


class TestDomainHint:
    def test_made_up_domains_reach_nobody(self) -> None:
        """A first message that silently ends in a spam folder is a bad start."""
        assert "made-up domain" in domain_hint("example.test", "main")
        assert "SPF and DKIM" in domain_hint("acme.com", "main")


class TestReachable:
    @pytest.mark.parametrize(
        ("host", "shown"),
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("2001:db8::1", "[2001:db8::1]")],
    )
    def test_names_an_address_for_this_machine(self, host: str, shown: str) -> None:
        """A listener on all addresses has none that a URL could name."""
        assert reachable(host) == shown


class TestTrialMessage:
    def test_is_a_clean_message(self) -> None:
        """It passes the same checks as everybody's mail."""
        raw = trial_message("a@example.com", "b@example.org", NOW)
        check_bytes(raw)
        message = message_from_bytes(raw)
        assert message["From"] == "Edgepost <a@example.com>"
        assert message["To"] == "b@example.org"
        assert message["Auto-Submitted"] == "auto-generated"


class TestPrintAnswer:
    @pytest.mark.parametrize("document", [{"a": None, "list": [{"b": True, "c": [1, "x"]}]}, {"empty": []}])
    def test_json_is_the_document_alone(self, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        """What is said to people is left out."""
        print_answer(Answer(document, said="hello"), as_json=True)
        printed = capsys.readouterr()
        assert json.loads(printed.out) == document
        assert printed.err == ""

    def test_strangers_cannot_write_to_the_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A subject may hold escape sequences, and brackets that Rich would read as markup."""
        document = {"subject": "\x1b[2Jx\u202e", "messages": [{"subject": "\x1b]0;y\x07[bold]z"}]}
        print_answer(Answer(document), as_json=False)
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert "\u202e" not in printed
        assert "[bold]z" in printed

    def test_long_values_are_never_cut_off(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """DNS values are there to be copied."""
        monkeypatch.setenv("COLUMNS", "40")
        value = "".join(chr(97 + number % 26) for number in range(400))
        print_answer(Answer({"records": [{"type": "TXT", "value": value}]}), as_json=False)
        printed = "".join(capsys.readouterr().out.replace("TXT", "").split())
        assert value in printed

    def test_numbers_are_never_folded(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The id of a held message is there to be copied into the next command."""
        monkeypatch.setenv("COLUMNS", "80")
        row = {"id": 244361293391425} | {f"text_{number}": "x" * 30 for number in range(4)}

        print_answer(Answer({"messages": [row]}), as_json=False)

        assert "244361293391425" in capsys.readouterr().out


class TestPrintError:
    def test_one_line_for_each_problem(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Standard output stays empty, so that a pipe gets nothing wrong."""
        print_error("SettingsError", "x", problems=["a", "b"], as_json=False)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == "edgepost: a\nedgepost: b\n"


class TestMoment:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("24h", datetime(2025, 12, 31, tzinfo=UTC)),
            ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
            ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ],
    )
    def test_takes_what_people_write(self, text: str, found: datetime) -> None:
        """So long ago, a day, or exactly."""
        assert moment(text, NOW) == found

    @pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T12:00:00", ""])
    def test_says_what_would_do(self, text: str) -> None:
        """A time without its zone may be hours off."""
        with pytest.raises(InvalidValue, match="2026-03-01T12:00:00Z"):
            moment(text, NOW)


class TestRouteForPeople:
    def test_each_endpoint_is_one_line(self) -> None:
        """A table of eight columns is no answer on a terminal of eighty."""
        secret_free = {"route": "a@b.test", "mode": "Endpoint", "spam_mode": "Mark", "forward_address": "x@r.test"}
        http = {"encoding": "BodyAsJSON", "format": "Hash", "attachments": True, "strip_replies": False}
        endpoints = [
            http | {"endpoint": "https://a.test/", "timeout_s": 30, "login": True, "tls": None},
            dict.fromkeys(http) | {"endpoint": "smtp://h.test:25", "timeout_s": None, "login": None, "tls": "starttls"},
            dict.fromkeys(http) | {"endpoint": "c@d.test", "timeout_s": None, "login": None, "tls": None},
        ]

        lines = route_for_people(secret_free | {"created_at": "now", "endpoint_options": endpoints}).splitlines()

        assert lines[-3:] == [
            "to https://a.test/  (BodyAsJSON, Hash, with attachments, answers within 30 s, with login)",
            "to smtp://h.test:25  (TLS starttls)",
            "to c@d.test",
        ]


class TestPiped:
    def test_a_row_is_a_line(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever pipes a list into grep looks for whole addresses."""
        monkeypatch.delenv("COLUMNS", raising=False)
        row = {f"text_{number}": f"{number}" * 40 for number in range(5)}

        print_answer(Answer({"rows": [row]}), as_json=False)

        assert any(all(value in line for value in row.values()) for line in capsys.readouterr().out.splitlines())


def commands_of(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its whole name."""
    for name, each in group.commands.items():
        whole = f"{above} {name}".strip()
        if hasattr(each, "commands"):
            yield from commands_of(each, whole)
        else:
            yield whole, each


ALL = dict(commands_of(typer.main.get_group(app)))
RUNNING = {"serve", "node"}
"""They run until they are told to stop, and print lines for people."""


class TestCommands:
    @pytest.mark.parametrize("name", sorted(ALL))
    def test_each_explains_itself(self, name: str) -> None:
        """Whoever does not know it has nothing else to ask."""
        command = ALL[name]

        assert command.help
        assert [each.name for each in command.params if not getattr(each, "help", None)] == []

    @pytest.mark.parametrize("name", sorted(ALL.keys() - RUNNING))
    def test_each_can_be_read_by_a_program(self, name: str) -> None:
        """A command without it is found out by whoever has written the script around it."""
        assert any("--json" in each.opts for each in ALL[name].params)
