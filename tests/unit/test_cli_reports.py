"""``edgepost report`` on a data directory of its own."""

import asyncio
import csv
import io
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.wiring import opened
from shared.flow.take_report import take_report
from shared.settings import Settings
from tests.unit.test_read_reports import dmarc, mail, sample

SPAN = ("--since", "2026-01-01T00:00:00Z", "--until", "2026-01-31T00:00:00Z")


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a server with the domain of the samples."""
    for name in list(os.environ):
        if name.startswith("EDGEPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("EDGEPOST_DKIM_ALGORITHMS", "ed25519")
    say("org", "create", "Acme")
    say("server", "create", "Main", "--organization", "acme")
    say("domain", "add", "example.test", "--server", "main", "--trusted")
    return "example.test"


def say(*arguments: str, status: int = 0) -> str:
    """Run a command and return what it printed."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    return result.output


def come(*reports: bytes) -> None:
    """Let reports come in, as a node takes them."""

    async def work() -> None:
        async with opened(Settings.from_env(os.environ)) as tools:
            for each in reports:
                await take_report(mail(each), records=tools.stores.records, now=tools.now())

    asyncio.run(work())


class TestReport:
    def test_dmarc_for_programs(self, domain: str) -> None:
        """The document that scripts rely on."""
        come(sample("rfc9990.xml"))

        found = json.loads(say("report", "dmarc", domain, "--server", "main", "--by", "source", *SPAN, "--json"))

        assert {name: found[name] for name in ("domain", "kind", "since", "until", "reports", "complete")} == {
            "domain": "example.test",
            "kind": "dmarc",
            "since": "2026-01-01",
            "until": "2026-01-31",
            "reports": 1,
            "complete": True,
        }
        assert found["total"]["messages"] == 161
        assert found["rows"][0] == {
            "source": "192.0.2.123",
            "messages": 123,
            "passed": 123,
            "dkim_passed": 123,
            "spf_passed": 0,
            "quarantined": 0,
            "rejected": 0,
        }

    def test_tls_for_people(self, domain: str) -> None:
        """A table."""
        come(sample("rfc8460.json"))

        text = say("report", "tls", domain, "--by", "failure", *SPAN)

        assert "starttls-not-supported" in text
        assert "5326" in text

    def test_csv_holds_no_formulas(self, domain: str) -> None:
        """Reporters choose their names, and people open the file in a spreadsheet."""
        come(dmarc(1, "=cmd|' /C calc'!A0", ("10.0.0.1", 3)))

        rows = list(csv.reader(io.StringIO(say("report", "dmarc", domain, "--by", "reporter", "--csv", *SPAN))))

        assert rows[0][:3] == ["reporter", "messages", "passed"]
        assert rows[1][:3] == ["'=cmd|' /C calc'!A0", "3", "3"]

    @pytest.mark.parametrize("since", ["999999d", "0001-01-01T00:00:00+14:00"])
    def test_a_moment_that_no_calendar_has_is_refused(self, domain: str, since: str) -> None:
        """With a sentence, as all that people mistype."""
        assert "too long ago" in say("report", "dmarc", domain, "--since", since, status=1)

    @pytest.mark.parametrize(
        ("kind", "record"),
        [
            ("dmarc", "rua=mailto:dmarc@rp.localhost"),
            ("dmarc", "*._report._dmarc.rp.localhost  TXT  v=DMARC1"),
            ("tls", "rua=mailto:tlsrpt@rp.localhost"),
        ],
    )
    def test_without_reports_it_says_how_to_get_some(self, domain: str, kind: str, record: str) -> None:
        """An empty table helps nobody."""
        text = say("report", kind, domain)

        assert "No reports about example.test" in text
        assert record in text

    def test_a_domain_of_another_server_is_none(self, domain: str) -> None:
        """Names are looked up among the owner's."""
        say("server", "create", "Second", "--organization", "acme")

        assert "second has no domain example.test" in say("report", "dmarc", domain, "--server", "second", status=1)
