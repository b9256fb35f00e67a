"""The pages say what the code does."""

import re
import runpy
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from shared.settings import Settings, variable
from tests.architecture.sources import ROOT

PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


class TestSettingsPage:
    def test_is_what_make_docs_writes(self) -> None:
        """An operator reads the page, the program reads the code: they must say the same."""
        made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["settings_page"]()

        assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made, "run `make docs`"

    def test_names_every_setting(self) -> None:
        """A setting that nobody can find is not there."""
        page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

        assert [variable(each) for each in fields(Settings) if f"| `{variable(each)}` |" not in page] == []

    def test_every_meaning_is_a_sentence(self) -> None:
        """A table of half sentences helps only its author."""
        assert [each.name for each in fields(Settings) if not re.match(r"[A-Z`].*\.$", each.metadata["doc"])] == []


class TestEventsPage:
    @pytest.mark.parametrize(
        ("name", "function"), [("events.md", "events_page"), ("event-schemas.json", "schemas_file")]
    )
    def test_is_what_make_docs_writes(self, name: str, function: str) -> None:
        """A customer reads the page, the program sends what the code says: they must be the same."""
        made = runpy.run_path(str(ROOT / "docs" / "make_events.py"))[function]()

        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made, "run `make docs`"


class TestMakefile:
    def test_help_explains_every_target(self) -> None:
        """`make help` is where a newcomer starts."""
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^\.PHONY: (\S+)", text, re.MULTILINE))
        shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

        explained = set(re.findall(r"^  (\S+) +\S", shown, re.MULTILINE))

        assert explained == targets

    @pytest.mark.parametrize("target", ["setup", "run", "test", "demo", "bench", "lint", "help"])
    def test_has_the_targets_that_others_rely_on(self, target: str) -> None:
        """These names are promised: pages and machines call them."""
        text = (ROOT / "Makefile").read_text(encoding="utf-8")

        assert f"\n.PHONY: {target}\n" in text


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=str)
    def test_lead_somewhere(self, page: Path) -> None:
        """A link to a file that was moved is worse than none."""
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in target]

        assert [target for target in targets if target and not (ROOT / page.parent / target).exists()] == []
