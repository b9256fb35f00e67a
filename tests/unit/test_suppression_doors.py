"""Suppression as its users meet it: in the API's answer, in the node, on the command line."""

import csv
import io
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.domain.message import Status
from shared.domain.suppression import Reason, Scope
from shared.flow.hold import held, release
from shared.flow.suppress import Cause, Suppressing, suppress
from tests.fakes.api import open_api
from tests.fakes.installation import Installation, install
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of


async def put_on(here: Installation, address: str, stream: str = "") -> None:
    """Put an address on the server's list because it complained."""
    cause = Cause(reason=Reason.COMPLAINT, source="event-1")
    using = Suppressing.over(here.stores, here.settings)
    await suppress(Scope(here.server.id, stream=stream), address, cause, until=None, using=using, now=here.clock())
    await here.take_events()


class TestSendAPI:
    async def test_the_answer_names_who_is_suppressed_and_why(self) -> None:
        """Postal's clients read id and token, and ignore the rest."""
        api = await open_api()
        await put_on(api.here, "user@dest.test")

        answer = await api.send(to=["user@dest.test", "free@dest.test"])

        messages = answer["data"]["messages"]
        assert messages["user@dest.test"]["suppressed"] == "the recipient complained"
        assert list(messages["free@dest.test"]) == ["id", "token"]


class TestWorker:
    async def test_holds_in_postals_words(self) -> None:
        """Nothing is connected for an address that is on a list."""
        here = await install()
        message = await here.accept_one("User@dest.test")
        await put_on(here, "user@dest.test")
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: here.events.sent > 1)

        assert sender.plans == []
        assert (await here.message(message.id)).status is Status.HELD
        [event] = [json.loads(text) for text in await here.take_events()]
        assert event["details"] == (
            "Recipient (user@dest.test) is on the suppression list (reason: the recipient complained)"
        )

    async def test_what_is_put_on_the_list_later_holds_what_waits_already(self) -> None:
        """Added is enforced at once, also for mail that was accepted before."""
        here = await install()
        await here.accept_one("user@dest.test", tag="news")
        await put_on(here, "user@dest.test", "news")
        sender = ScriptedSender()

        await work_until(worker_of(here, sender), lambda: here.events.sent > 1)

        assert sender.plans == []

    async def test_a_release_by_hand_sends_it(self) -> None:
        """Postal: a person may overrule the list."""
        here = await install()
        message = await here.accept_one("user@dest.test")
        await put_on(here, "user@dest.test")
        sender = ScriptedSender()
        await work_until(worker_of(here, sender), lambda: here.events.sent > 1)
        assert [each.id for each in (await held(here.server, using=here.settling)).messages] == [message.id]

        await release(here.server, message.id, using=here.settling)
        here.clock.advance(timedelta(seconds=1))
        await work_until(worker_of(here, sender), lambda: bool(sender.plans))

        assert [plan.rcpt_to for plan in sender.plans] == ["user@dest.test"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make an organization with a server in a directory of its own and return its permalink."""
    for name in list(os.environ):
        if name.startswith("EDGEPOST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "data"))
    run("org", "create", "Acme")
    return str(run("server", "create", "Main", "--organization", "acme")["permalink"])


def run(*arguments: str, status: int = 0, typed: str = "") -> Any:
    """Run a command with --json and return its document."""
    result = CliRunner().invoke(app, [*arguments, "--json"], input=typed)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def suppression(*arguments: str, status: int = 0, typed: str = "", server: str = "main") -> Any:
    """Run a command of the suppression lists."""
    return run("suppression", *arguments, "--server", server, status=status, typed=typed)


class TestCommands:
    def test_add_show_and_remove(self, server: str) -> None:
        """The whole life of an entry."""
        made = suppression("add", "User@Dest.test", "--stream", "news", "--reason", "asked us", "--expires", "30d")
        listed = suppression("list")["suppressions"]
        suppression("remove", "user@dest.test", "--stream", "news")

        assert (made["address"], made["scope"], made["stream"], made["detail"]) == (
            "user@dest.test",
            "stream",
            "news",
            "asked us",
        )
        assert made["until"] > made["added_at"]
        assert [each["address"] for each in listed] == ["user@dest.test"]
        assert suppression("list")["suppressions"] == []
        history = suppression("show", "user@dest.test", "--stream", "news")["history"]
        assert [change["change"] for change in history] == ["added", "removed"]

    def test_import_and_export(self, server: str, tmp_path: Path) -> None:
        """A list moves between installations as a file."""
        file = tmp_path / "list.csv"
        file.write_text("email,reason\na@dest.test,complaint\nbad\nb@dest.test,\n")

        done = suppression("import", str(file), status=1)
        again = suppression("import", "-", typed="a@dest.test\n")
        written = suppression("export", "--output", str(tmp_path / "out.csv"))
        document = suppression("export")
        text = CliRunner().invoke(app, ["suppression", "export", "--server", "main"]).stdout

        assert (done["added"], done["bad"]) == (2, 1)
        assert done["problems"][0].startswith("line 3")
        assert (again["added"], again["there"]) == (0, 1)
        assert written["written"] == 2
        rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
        assert {row["address"]: row["reason"] for row in rows} == {"a@dest.test": "complaint", "b@dest.test": "import"}
        assert sorted(each["address"] for each in document["suppressions"]) == ["a@dest.test", "b@dest.test"]
        assert sorted(text.splitlines()) == sorted((tmp_path / "out.csv").read_text().splitlines())

    def test_an_empty_export_is_a_document_too(self, server: str) -> None:
        """Programs read it without looking first."""
        assert suppression("export") == {"suppressions": []}

    def test_an_organization_has_a_list_of_its_own(self, server: str) -> None:
        """For addresses that none of its servers may write to."""
        run("suppression", "add", "user@dest.test", "--organization", "acme")

        assert suppression("list")["suppressions"] == []
        listed = run("suppression", "list", "--organization", "acme")["suppressions"]
        assert [each["scope"] for each in listed] == ["organization"]

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["add", "nonsense", "--server", "main"], "InvalidValue"),
            (["add", "a@dest.test"], "InvalidValue"),
            (["add", "a@dest.test", "--server", "main", "--organization", "acme"], "InvalidValue"),
            (["add", "a@dest.test", "--organization", "acme", "--stream", "x"], "InvalidValue"),
            (["add", "a@dest.test", "--server", "main", "--expires", "soon"], "InvalidValue"),
            (["add", "a@dest.test", "--server", "nobody"], "NotFound"),
            (["remove", "a@dest.test", "--server", "main"], "NotFound"),
            (["import", "/nowhere.csv", "--server", "main"], "InvalidValue"),
            (["export", "--output", "/nowhere/x.csv", "--server", "main"], "InvalidValue"),
        ],
    )
    def test_refuses(self, server: str, arguments: list[str], code: str) -> None:
        """With a document, never a traceback."""
        assert run("suppression", *arguments, status=1)["error"]["code"] == code

    def test_deleting_a_server_deletes_its_lists(self, server: str) -> None:
        """Addresses of people must not stay where nobody can see them."""
        suppression("add", "a@dest.test")
        suppression("add", "a@dest.test", "--stream", "news")
        run("server", "delete", "main", "--yes")

        [database] = Path(os.environ["EDGEPOST_DATA_DIR"]).glob("*.db")
        assert _rows_about(database) == 0


def _rows_about(database: Path) -> int:
    """Return how many records name a suppression."""
    import sqlite3  # noqa: PLC0415 - only this test looks into the file

    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return sum(
            sum(1 for row in connection.execute(f"select * from {name}") if "suppression#" in repr(row))  # noqa: S608
            for name in tables
        )
