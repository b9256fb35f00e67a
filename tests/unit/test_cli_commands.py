"""The command line on a data directory of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.fakes.dns_server import FakeDNS

Run = Callable[..., Any]

PROGRAM = "from cli.main import main; main()"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the commands of one test work."""
    for name in list(os.environ):
        if name.startswith("EDGEPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("EDGEPOST_DKIM_ALGORITHMS", "ed25519")
    monkeypatch.setenv("EDGEPOST_HTTP_PORT", "9")
    return tmp_path / "data"


def run(*arguments: str, status: int = 0, typed: str = "") -> Any:
    """Run a command with --json and return its document."""
    result = CliRunner().invoke(app, [*arguments, "--json"], input=typed)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def say(*arguments: str, status: int = 0, typed: str = "") -> str:
    """Run a command for people and return what it printed."""
    result = CliRunner().invoke(app, arguments, input=typed)
    assert result.exit_code == status, result.output
    return result.output


def fails(*arguments: str) -> tuple[str, str]:
    """Run a command that is refused and return its code and text."""
    error = run(*arguments, status=1)["error"]
    return error["code"], error["message"]


@pytest.fixture
def server(data_dir: Path) -> str:
    """Make an organization with a server and return its permalink."""
    run("org", "create", "Acme")
    return str(run("server", "create", "Main", "--organization", "acme")["permalink"])


class TestDomainNames:
    @pytest.mark.parametrize("name", ["exam_ple", "example", "mail_1.example.com"])
    def test_a_typing_error_is_noticed_at_once(self, server: str, name: str) -> None:
        """Not when the records that were printed for it are never found."""
        code, text = fails("domain", "add", name, "--server", server)

        assert code == "InvalidValue"
        assert "such as example.com" in text


class TestInitialize:
    def test_prints_the_same_document_each_time(self, data_dir: Path) -> None:
        """Scripts call it to find out what was made."""
        first = run("initialize")
        assert list(first) == ["admin", "admin_token", "organization", "server", "domain", "api_key", "smtp"]
        assert run("initialize") == first
        assert json.loads((data_dir / "first-run.json").read_text())["api_key"] == first["api_key"]

    def test_two_at_once_make_one_installation(self, data_dir: Path) -> None:
        """Service managers start things twice; both must print what works."""
        command = [sys.executable, "-c", PROGRAM, "initialize", "--json"]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
        documents = [json.loads(each.communicate(timeout=60)[0]) for each in running]
        assert documents[0] == documents[1] == documents[2]
        assert documents[0]["api_key"]
        assert [each["server"] for each in run("status", status=1)["servers"]] == ["main"]

    def test_human_words_follow_the_file(self, data_dir: Path) -> None:
        """Once the operator deleted the file, nobody can tell the secrets."""
        assert "Made." in say("initialize")
        (data_dir / "first-run.json").unlink()
        again = say("initialize")
        assert "deleted with first-run.json" in again
        assert "password None" not in again


class TestOrg:
    def test_whole_life(self, data_dir: Path) -> None:
        """Each command prints the organization as it is then."""
        made = run("org", "create", "Acme Ltd")
        assert (made["name"], made["permalink"], made["suspended_at"]) == ("Acme Ltd", "acme-ltd", None)
        assert run("org", "list") == {"organizations": [made]}
        assert run("org", "update", "acme-ltd", "--name", "Acme") == made | {"name": "Acme"}
        assert run("org", "suspend", "acme-ltd", "--reason", "abuse")["suspension_reason"] == "abuse"
        assert run("org", "unsuspend", "acme-ltd")["suspended_at"] is None
        assert run("org", "show", "acme-ltd")["name"] == "Acme"
        assert run("org", "delete", "acme-ltd", "--yes") == {"deleted": "acme-ltd"}
        assert run("org", "list") == {"organizations": []}

    def test_delete_asks_for_the_name(self, data_dir: Path) -> None:
        """The wrong name changes nothing."""
        run("org", "create", "Acme")
        assert "type the name exactly" in say("org", "delete", "acme", typed="acme\n", status=1)
        assert fails("org", "delete", "acme")[0] == "InvalidValue"
        say("org", "delete", "acme", typed="Acme\n")
        assert fails("org", "show", "acme") == ("NotFound", "there is no organization with the permalink acme")


class TestServer:
    def test_whole_life(self, data_dir: Path) -> None:
        """Each command prints the server as it is then."""
        run("org", "create", "Acme")
        made = run("server", "create", "Main", "--organization", "acme", "--mode", "Development")
        assert (made["permalink"], made["organization"], made["mode"]) == ("main", "acme", "Development")
        assert run("server", "update", "main", "--mode", "Live", "--privacy-mode")["privacy_mode"] is True
        assert run("server", "update", "main", "--no-privacy-mode")["mode"] == "Live"
        thresholds = ["spam_threshold", "spam_failure_threshold", "outbound_spam_threshold"]
        assert [made[name] for name in thresholds] == [5.0, 20.0, None]
        words = ["--spam-threshold", "-2.5", "--spam-failure-threshold", "15", "--outbound-spam-threshold", "8"]
        assert [run("server", "update", "main", *words)[name] for name in thresholds] == [-2.5, 15.0, 8.0]
        assert run("server", "update", "main", "--outbound-spam-threshold", "none")["outbound_spam_threshold"] is None
        assert fails("server", "update", "main", "--spam-threshold", "26")[0] == "InvalidValue"
        assert fails("server", "update", "main", "--outbound-spam-threshold", "off")[0] == "InvalidValue"
        assert run("server", "suspend", "main", "--reason", "spam")["suspension_reason"] == "spam"
        assert run("unsuspend-server", "main")["suspended_at"] is None
        assert run("server", "show", "main") == run("server", "list")["servers"][0]
        assert run("server", "list", "--organization", "acme") == run("server", "list")
        assert run("server", "delete", "main", "--yes") == {"deleted": "main"}
        assert run("server", "list") == {"servers": []}

    def test_unknown_organization(self, data_dir: Path) -> None:
        """The text names what is missing."""
        assert fails("server", "create", "Main", "--organization", "nobody")[1].endswith("permalink nobody")


class TestDomain:
    def test_add_and_show_print_what_to_publish(self, server: str) -> None:
        """Exactly domain and records, both keys included."""
        added = run("domain", "add", "example.com", "--server", server, "--dkim", "both")
        assert list(added) == ["domain", "records"]
        assert all(list(record) == ["type", "name", "value", "purpose"] for record in added["records"])
        assert sum("._domainkey." in record["name"] for record in added["records"]) == 2
        assert run("domain", "show", "example.com") == added
        shown = say("domain", "show", "example.com").splitlines()
        assert "example.com is not verified" in shown[0]
        assert all(f"  {record['value']}" in shown for record in added["records"])

    def test_trusted_needs_no_dns(self, server: str) -> None:
        """The admin's word is enough; the list shows whose word it was."""
        run("domain", "add", "example.com", "--server", server, "--trusted")
        run("domain", "add", "example.org", "--organization", "acme")
        (mine,) = run("domain", "list", "--server", server)["domains"]
        (shared,) = run("domain", "list", "--organization", "acme")["domains"]
        assert (mine["domain"], mine["trusted"], mine["owner"]) == ("example.com", True, "server")
        assert (shared["domain"], shared["verified_at"], shared["owner"]) == ("example.org", None, "organization")

    def test_owner_is_one_of_two(self, server: str) -> None:
        """A domain without an owner, or with two, cannot be."""
        assert fails("domain", "add", "example.com")[0] == "InvalidValue"
        assert fails("domain", "add", "example.com", "--server", server, "--organization", "acme")[0] == "InvalidValue"

    def test_delete(self, server: str) -> None:
        """After it the name is free."""
        run("domain", "add", "example.com", "--server", server)
        assert run("domain", "delete", "example.com", "--yes") == {"deleted": "example.com"}
        assert fails("domain", "show", "example.com")[0] == "NotFound"

    async def test_verify_asks_the_dns(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A missing record is bad news, a broken name server is no verdict, the record is enough."""
        added = await asyncio.to_thread(run, "domain", "add", "example.com", "--server", server)
        async with FakeDNS({"example.com": {"TXT": ["v=spf1 -all"]}}) as dns:
            monkeypatch.setenv("EDGEPOST_DNS_SERVERS", f"{dns.address[0]}:{dns.address[1]}")

            missing = await asyncio.to_thread(run, "domain", "verify", "example.com", status=1)
            dns.zone["example.com"] = {"fail": "SERVFAIL"}
            broken = await asyncio.to_thread(run, "domain", "verify", "example.com", status=1)
            dns.zone["example.com"] = {"TXT": [added["records"][0]["value"]]}
            verified = await asyncio.to_thread(run, "domain", "verify", "example.com")

        assert (missing["verified"], broken["error"]["code"], verified["verified"]) == (False, "LookupFailed", True)
        assert "no ownership record" in missing["explanation"]
        listed = await asyncio.to_thread(run, "domain", "list", "--server", server)
        assert listed["domains"][0]["verified_at"]

    async def test_check_says_what_is_wrong(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each record with a status and a sentence, kept for show and list; no answer is no verdict."""
        added = await asyncio.to_thread(run, "domain", "add", "example.com", "--server", server, "--dkim", "ed25519")
        publish = {record["name"]: record["value"] for record in added["records"] if record["type"] == "TXT"}
        async with FakeDNS({"example.com": {"fail": "SERVFAIL"}}) as dns:
            monkeypatch.setenv("EDGEPOST_DNS_SERVERS", f"{dns.address[0]}:{dns.address[1]}")
            dns.zone |= {name: {"fail": "SERVFAIL"} for name in [*publish, "psrp.example.com"]}
            unknown = await asyncio.to_thread(run, "domain", "check", "example.com", status=1)
            dns.zone |= {name: {"TXT": [value]} for name, value in publish.items()}
            found = await asyncio.to_thread(run, "domain", "check", "example.com")
            dns.zone["example.com"] = {"TXT": ["v=spf1 -all"]}
            wrong = await asyncio.to_thread(run, "domain", "check", "example.com", status=1)

        assert unknown["error"]["code"] == "LookupFailed"
        assert (found["ok"], found["spf"], found["unknown"]) == (
            True,
            {"status": "OK", "error": None},
            ["return_path"],
        )
        assert found["return_path"] is None
        assert (wrong["ok"], wrong["spf"]["status"], wrong["mx"]["status"]) == (False, "Invalid", "Missing")
        assert [key["status"] for key in wrong["keys"]] == ["OK"]
        shown = await asyncio.to_thread(run, "domain", "show", "example.com")
        assert shown["check"]["spf"] == wrong["spf"]
        assert "does not let this installation send" in await asyncio.to_thread(say, "domain", "show", "example.com")
        listed = await asyncio.to_thread(run, "domain", "list", "--server", server)
        assert (listed["domains"][0]["dns_ok"], listed["domains"][0]["checked_at"]) == (False, wrong["checked_at"])


class TestCredential:
    def test_key_is_printed_once(self, server: str) -> None:
        """Exactly id, type and key; no other command shows the key."""
        made = run("credential", "create", "--server", server, "--type", "SMTP", "--hold")
        assert list(made) == ["id", "type", "key"]
        (listed,) = run("credential", "list", "--server", server)["credentials"]
        assert (listed["id"], listed["hold"], listed["use"]) == (made["id"], True, "Unused")
        assert "key" not in listed
        assert run("credential", "update", str(made["id"]), "--server", server, "--no-hold")["hold"] is False
        assert run("credential", "delete", str(made["id"]), "--server", server) == {"deleted": made["id"]}
        assert run("credential", "list", "--server", server) == {"credentials": []}

    def test_network_is_the_key_of_smtp_ip(self, server: str) -> None:
        """As Postal has it."""
        arguments = ["credential", "create", "--server", server, "--type", "SMTP-IP"]
        assert run(*arguments, "--network", "192.0.2.7")["key"] == "192.0.2.7/32"
        assert fails(*arguments)[0] == "InvalidValue"


class TestMessage:
    def test_nothing_is_held_and_nothing_is_there(self, server: str) -> None:
        """Unknown messages are said to be unknown by each command."""
        assert run("message", "held", "--server", server) == {"messages": []}
        for command in ("show", "release", "cancel"):
            for number in ("1", "0", str(10**30)):
                assert fails("message", command, number, "--server", server)[0] == "NotFound"


class TestTestMail:
    def test_is_accepted_and_followed(self, data_dir: Path) -> None:
        """Without a running node nothing happens further, and that is said."""
        run("initialize")
        said = say("test-mail", "you@example.com", "--timeout", "1", status=1)
        assert "accepted as message" in said
        assert "from test@example.test" in said
        assert "is `edgepost serve` running?" in said

        document = run("test-mail", "you@example.com", "--timeout", "1", status=1)
        assert (document["status"], document["deliveries"], document["tag"]) == ("Pending", [], "test-mail")
        shown = run("message", "show", str(document["id"]), "--server", "main")
        assert shown == document

    def test_sender_must_be_the_servers(self, data_dir: Path) -> None:
        """It goes the way of all mail, with the same checks."""
        run("initialize")
        assert fails("test-mail", "you@example.com", "--from", "me@gmail.com")[0] == "SenderNotAllowed"
        assert fails("test-mail", "nobody")[0] == "InvalidValue"

    def test_says_what_is_missing(self, server: str) -> None:
        """Each answer names the command that helps."""
        assert "edgepost initialize" in fails("test-mail", "you@example.com")[1]
        assert "edgepost domain add" in fails("test-mail", "you@example.com", "--server", server)[1]
        run("domain", "add", "example.com", "--server", server, "--trusted")
        assert "edgepost credential create" in fails("test-mail", "you@example.com", "--server", server)[1]


class TestStatus:
    def test_organizations_without_servers_count_too(self, server: str) -> None:
        """A new organization has no server yet, but it is there."""
        run("org", "create", "Empty")

        document = run("status", status=1)

        assert document["organizations"] == 2
        assert [each["server"] for each in document["servers"]] == [server]

    def test_counts_and_says_that_nothing_runs(self, server: str) -> None:
        """Exit status 1 lets a script notice."""
        document = run("status", status=1)
        assert document["health"].startswith("no healthy server")
        assert document["servers"] == [{"server": "main", "organization": "acme", "state": "Live", "held": 0}]
        assert [each["queue"] for each in document["queues"]] == ["work default", "events", "webhooks", "inbound"]
        assert "no healthy server" in say("status", status=1)


class TestErrors:
    def test_all_wrong_settings_are_listed_one_a_line(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who fixes them one by one loses patience."""
        monkeypatch.setenv("EDGEPOST_HTTP_PORT", "x")
        monkeypatch.setenv("EDGEPOST_NONSENSE", "x")
        result = CliRunner().invoke(app, ["org", "list"])
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 2
        error = run("org", "list", status=2)["error"]
        assert error["code"] == "SettingsError"
        assert len(error["problems"]) == 2

    def test_unusable_data_directory_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says which directory and what to do."""
        (tmp_path / "file").touch()
        monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "file" / "data"))
        result = CliRunner().invoke(app, ["org", "list"])
        assert result.exit_code == 1
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert "EDGEPOST_DATA_DIR" in line

    def test_wrong_master_key_is_refused(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Going on with it would make secrets that no other process can open."""
        run("initialize")
        monkeypatch.setenv("EDGEPOST_MASTER_KEY", "A" * 43 + "=")
        assert "EDGEPOST_MASTER_KEY" in fails("initialize")[1]


class TestProgram:
    def test_json_is_all_that_is_on_standard_output(self, data_dir: Path) -> None:
        """A pipe into jq must never break."""
        done = subprocess.run([sys.executable, "-c", PROGRAM, "version", "--json"], capture_output=True, check=True)
        assert list(json.loads(done.stdout)) == ["version"]
        assert done.stderr == b""

    def test_version_imports_nothing_heavy(self) -> None:
        """The command line is there at once."""
        code = (
            "import sys; sys.argv = ['edgepost', 'version']\n"
            "from cli.main import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = {'asyncio', 'cryptography', 'fastapi', 'sqlite3', 'dns', 'argon2', 'rich'} & set(sys.modules)\n"
            "print(sorted(heavy), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
        assert done.stderr == "[]\n"
