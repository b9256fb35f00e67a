"""Figures: kept by the parts, merged by the scrape, named as the documentation says."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from shared.domain.errors import StorageUnavailable
from shared.domain.ids import ServerId
from shared.ports import Depth, Received
from smtp_node.receive import metering
from standalone import figures, scrape
from standalone.figures import FIGURES, MAX_SERVERS
from standalone.log_figures import RULES, LogFigures
from standalone.metrics import PrometheusMeter, UnknownFigure, open_meter
from standalone.postal_figures import ALIASES
from standalone.scrape import Sources

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def library() -> Iterator[None]:
    """Leave the library as it was: the meter sets it up for its whole process."""
    before = values.ValueClass
    yield
    values.ValueClass = before
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return the directory of one start."""
    (tmp_path / "metrics").mkdir()
    return tmp_path


def meter(run_dir: Path, part: str = "deliver") -> PrometheusMeter:
    """Return a meter that refuses what is not in the table."""
    return PrometheusMeter(run_dir / "metrics", part, strict=True)


class Depths:
    """A queue of which only the depth is known."""

    def __init__(self, depth: Depth | None) -> None:
        self._depth = depth

    async def depth(self) -> Depth:
        """Return it, or fail as a store does that is not there."""
        if self._depth is None:
            raise StorageUnavailable("the database did not answer")
        return self._depth

    async def send(self, messages: object) -> None:
        """Not asked for here."""

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> list[Received]:
        """Nothing is there."""
        return []

    async def extend(self, receipts: object, visibility: timedelta) -> None:
        """Not asked for here."""

    async def delete(self, receipts: object) -> None:
        """Not asked for here."""


async def samples(run_dir: Path, *, server: int | None = None, **queues: Depth | None) -> dict[str, float]:
    """Return the scrape's samples by ``name{labels}``."""
    sources = Sources(run_dir, {name: Depths(depth) for name, depth in queues.items()})
    text = await scrape.scrape(sources, server=None if server is None else ServerId(server))
    return {
        each.name + json.dumps(each.labels, sort_keys=True): each.value
        for family in text_string_to_metric_families(text.decode())
        for each in family.samples
    }


class TestPrometheusMeter:
    async def test_sums_over_parts(self, run_dir: Path) -> None:
        """Both doors accept; the operator wants one number."""
        for part in ("http", "receive"):
            meter(run_dir, part).count("edgepost_messages_accepted_total", 2, server="1", via="HTTP")

        assert (await samples(run_dir))['edgepost_messages_accepted_total{"server": "1", "via": "HTTP"}'] == 4

    async def test_restarted_part_goes_on_where_it_stopped(self, run_dir: Path) -> None:
        """A counter that fell back would look like a restart of everything, and files must not pile up."""
        count = (
            "import sys; from pathlib import Path; from standalone.metrics import open_meter;"
            "open_meter(Path(sys.argv[1]), 'deliver').count('edgepost_worker_errors_total', error='x');"
            "import os; os.kill(os.getpid(), 9)"
        )
        for _ in range(3):
            subprocess.run([sys.executable, "-c", count, str(run_dir)], cwd=ROOT, check=False)  # noqa: ASYNC221

        assert (await samples(run_dir))['edgepost_worker_errors_total{"error": "x"}'] == 3
        assert len(list((run_dir / "metrics").iterdir())) == 2

    @pytest.mark.parametrize(
        ("name", "labels"),
        [("edgepost_unheard_of_total", {}), ("edgepost_worker_errors_total", {"colour": "red"})],
    )
    def test_refuses_what_is_not_in_the_table(self, run_dir: Path, name: str, labels: dict[str, str]) -> None:
        """A misspelt name would be a figure that never moves."""
        with pytest.raises(UnknownFigure):
            meter(run_dir).count(name, **labels)

    def test_in_production_such_a_figure_is_dropped(self, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A wrong figure must never stop a delivery; once in the log is enough."""
        lenient = PrometheusMeter(run_dir / "metrics", "deliver")

        lenient.count("edgepost_unheard_of_total")
        lenient.observe("edgepost_unheard_of_total", 1.0)

        assert [record.msg for record in caplog.records] == ["metric_unknown"]

    async def test_servers_beyond_the_bound_are_counted_together(self, run_dir: Path) -> None:
        """A figure for each of endlessly many servers would grow for ever."""
        made = meter(run_dir)
        for server in range(MAX_SERVERS + 2):
            made.count("edgepost_delivery_attempts_total", server=str(server), direction="outgoing", outcome="Sent")

        found = await samples(run_dir)

        assert (
            found['edgepost_delivery_attempts_total{"direction": "outgoing", "outcome": "Sent", "server": "other"}']
            == 2
        )
        assert found['edgepost_delivery_attempts_total{"direction": "outgoing", "outcome": "Sent", "server": "0"}'] == 1

    def test_is_what_the_smtp_door_wants(self, run_dir: Path) -> None:
        """The door has a smaller protocol of its own; each of its names must be in the table."""
        door: metering.Meter = meter(run_dir)
        names = [value for name, value in vars(metering).items() if name.isupper()]

        for name in names:
            door.count(name, **dict.fromkeys(FIGURES[name].labels, "x"))

        assert len(names) >= 7

    def test_without_a_place_for_files_nothing_is_kept(self, tmp_path: Path) -> None:
        """Mail flows without figures."""
        (tmp_path / "metrics").touch()

        open_meter(tmp_path, "deliver").count("edgepost_worker_errors_total", error="x")


class TestScrape:
    async def test_server_sees_its_own_only(self, run_dir: Path) -> None:
        """An API key is handed to customers; other customers' volume is none of their business."""
        made = meter(run_dir)
        for server in ("1", "2", "11"):
            made.count("edgepost_delivery_attempts_total", server=server, direction="outgoing", outcome="Sent")
        made.count("edgepost_worker_errors_total", error="x")

        found = await samples(run_dir, server=1, events=Depth(1, 2, 3, 4))

        assert found == {
            'edgepost_delivery_attempts_total{"direction": "outgoing", "outcome": "Sent", "server": "1"}': 1
        }

    async def test_shows_queues_as_they_are(self, run_dir: Path) -> None:
        """A queue that grows is the first sign of almost everything."""
        found = await samples(run_dir, events=Depth(ready=1, delayed=2, in_flight=3, dead=4), broken=None)

        shown = {name: value for name, value in found.items() if name.startswith("edgepost_queue_messages")}
        assert shown == {
            f'edgepost_queue_messages{{"queue": "events", "state": "{state}"}}': number
            for state, number in {"ready": 1, "delayed": 2, "in_flight": 3, "dead": 4}.items()
        }

    async def test_shows_processes(self, run_dir: Path) -> None:
        """Which part is away, and how often it was, is what an alarm is made from."""
        states = {
            "deliver": {"pid": os.getpid(), "up": True, "ready": True, "restarts": 2},
            "http": {"pid": 1, "up": False, "ready": False, "restarts": 0},
        }
        (run_dir / "parts.json").write_text(json.dumps(states))

        found = await samples(run_dir)

        assert found['edgepost_part_up{"part": "deliver"}'] == 1
        assert found['edgepost_part_up{"part": "http"}'] == 0
        assert found['edgepost_part_restarts_total{"part": "deliver"}'] == 2
        assert found['edgepost_process_resident_memory_bytes{"part": "deliver"}'] > 1_000_000

    async def test_unreadable_files_cost_figures_and_nothing_else(self, run_dir: Path) -> None:
        """The scrape answers, so that the rest of the figures is seen."""
        (run_dir / "metrics" / "counter_http.db").write_bytes(b"\x40\0\0\0\0\0\0\0\xff\xff\0\0" + bytes(80))

        assert await samples(run_dir, events=Depth(1, 0, 0, 0))

    async def test_postals_names_stand_beside_ours(self, run_dir: Path) -> None:
        """Dashboards that were made for Postal go on showing something."""
        made = meter(run_dir)
        made.count("edgepost_delivery_attempts_total", server="1", direction="outgoing", outcome="Sent")
        made.count("edgepost_delivery_attempts_total", server="2", direction="incoming", outcome="SoftFail")
        made.observe("edgepost_message_queue_latency_seconds", 0.2)
        made.count("postal_smtp_server_client_errors", error="invalid-credentials")

        found = await samples(run_dir)

        labels = '{"job": "ProcessQueuedMessagesJob", "thread": "deliver"}'
        assert found[f"postal_worker_job_executions{labels}"] == 2
        assert found['postal_message_queue_latency_bucket{"le": "0.25"}'] == 1
        assert found['postal_smtp_server_client_errors{"error": "invalid-credentials"}'] == 1


class TestLogFigures:
    async def test_lines_are_counted(self, run_dir: Path) -> None:
        """The flows have no meter: what they log is what is counted."""
        handler = LogFigures(meter(run_dir))
        settled = {"server_id": 1, "direction": "outgoing", "outcome": "Sent", "took_ms": 300, "waited_ms": 20}
        forwarded = {"server_id": 1, "direction": "incoming", "outcome": "HardFail", "took_ms": 40}

        for event, fields in (
            ("message_accepted", {"server_id": 1, "via": "HTTP", "recipients": 3}),
            ("attempt_settled", settled),
            ("inbound_settled", forwarded),
            ("mail_scanned", {"scanner": "clamd", "result": "done", "took_ms": 250}),
            ("scan_failed", {"scanner": "clamd", "result": "timeout", "took_ms": 500}),
            ("settle_failed", {}),
            ("something_else", {}),
        ):
            handler.handle(logging.makeLogRecord({"msg": event, "levelno": logging.INFO, **fields}))

        found = await samples(run_dir)
        assert found['edgepost_messages_accepted_total{"server": "1", "via": "HTTP"}'] == 3
        assert found['edgepost_delivery_attempts_total{"direction": "outgoing", "outcome": "Sent", "server": "1"}'] == 1
        assert found['edgepost_delivery_seconds_sum{"direction": "outgoing", "outcome": "Sent"}'] == 0.3
        refused = '{"direction": "incoming", "outcome": "HardFail", "server": "1"}'
        assert found[f"edgepost_delivery_attempts_total{refused}"] == 1
        assert found["edgepost_message_queue_latency_seconds_count{}"] == 1
        assert found['edgepost_worker_errors_total{"error": "settle_failed"}'] == 1
        assert found['edgepost_scans_total{"result": "done", "scanner": "clamd"}'] == 1
        assert found['edgepost_scans_total{"result": "timeout", "scanner": "clamd"}'] == 1
        assert found['edgepost_scan_seconds_sum{"scanner": "clamd"}'] == 0.75

    def test_each_line_is_written_somewhere(self) -> None:
        """A line that nobody writes any more would be a figure that never moves."""
        sources = "\n".join(
            path.read_text()
            for folder in ("shared", "smtp_node", "functions")
            for path in (ROOT / folder).rglob("*.py")
        )

        assert [name for name in RULES if f'("{name}"' not in sources] == []


class TestDocumentation:
    def test_lists_every_figure(self) -> None:
        """An operator chooses from the list; what is not there does not exist."""
        documented = set(re.findall(r"`((?:edgepost|postal)_[a-z_]+)`", (ROOT / "docs" / "operations.md").read_text()))
        shown = {each.name for each in figures.FIGURES.values()} | {alias.name for alias in ALIASES}
        present = {"edgepost_queue_messages", "edgepost_part_up", "edgepost_part_restarts_total"}
        processes = {name.replace("cpu_seconds", "cpu_seconds_total") for name in scrape.PROCESS_FIGURES}

        assert documented == shown | present | processes

    def test_no_name_is_two_figures(self) -> None:
        """The same name twice with two meanings cannot be shown."""
        assert len(FIGURES) == len(figures._DECLARED)
