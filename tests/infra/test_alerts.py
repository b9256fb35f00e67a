"""The alerts for Prometheus: each fires where it must, and stays silent beside it."""

import json
import re
from pathlib import Path

from standalone.figures import FIGURES
from tests.architecture.sources import ROOT
from tests.e2e.programs import program, run
from tests.infra.yaml_files import read_yaml

ALERTS = ROOT / "infra" / "prometheus-alerts.yaml"
TRIED = ROOT / "tests" / "data" / "prometheus-alerts.yaml"
GAUGES = {"edgepost_part_up", "edgepost_queue_messages"}
"""Made when they are asked for: standalone/scrape.py."""


def rules() -> list[dict[str, object]]:
    """Return the rules of the file."""
    [group] = read_yaml(ALERTS)["groups"]
    found: list[dict[str, object]] = group["rules"]
    return found


class TestAlerts:
    def test_promtool_takes_the_file(self) -> None:
        """Prometheus does not start with a rule that it cannot read."""
        assert "SUCCESS" in run(program("promtool"), "check", "rules", str(ALERTS))

    def test_each_fires_where_it_must(self, tmp_path: Path) -> None:
        """An alert that never fires, or always, is worse than none."""
        # The words for people would have to be repeated in the expectations.
        silent = [{name: each[name] for name in each if name != "annotations"} for each in rules()]
        # JSON is YAML.
        (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "edgepost", "rules": silent}]}))
        tried = read_yaml(TRIED) | {"rule_files": [str(tmp_path / "rules.yaml")]}
        (tmp_path / "tried.yaml").write_text(json.dumps(tried))

        assert "SUCCESS" in run(program("promtool"), "test", "rules", str(tmp_path / "tried.yaml"))

    def test_each_is_tried(self) -> None:
        """A new rule without a trial would be found wrong in the night it is needed."""
        tried = read_yaml(TRIED)["tests"]

        names = {each["alertname"] for test in tried for each in test["alert_rule_test"]}
        assert names == {each["alert"] for each in rules()}

    def test_each_figure_is_kept(self) -> None:
        """A renamed figure would silence its alert for ever."""
        named = {name for each in rules() for name in re.findall(r"edgepost_[a-z_]+", str(each["expr"]))}

        assert named - GAUGES <= set(FIGURES)

    def test_each_says_what_to_do(self) -> None:
        """Whoever is woken has not read the documentation lately."""
        for each in rules():
            notes = each["annotations"]
            assert isinstance(notes, dict)
            assert set(notes) == {"summary", "action"}
