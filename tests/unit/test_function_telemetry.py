"""Log lines and figures of functions on Lambda; each in a process of its own, because logging is global."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from functions.telemetry import of_batch, of_minute

PROGRAM = """
import logging
from functions.telemetry import observed, of_batch
from standalone.lambda_events import LambdaContext

def work(event, context):
    log = logging.getLogger("shared.flow.record")
    log.info("batch_recorded", extra={"server_id": 7, "api_key": "geheim", "size_bytes": 12})
    log.debug("not_written")
    logging.getLogger("botocore.hooks").info("request_made")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("batch_failed")
    return {"batchItemFailures": [{"itemIdentifier": "b"}]}

handler = observed("events", work, figures=of_batch)
for request in ("req-1", "req-2"):
    handler({"Records": [{}, {}]}, LambdaContext("edgepost-events", request))
"""


def lines(program: str, **environment: str) -> list[Mapping[str, Any]]:
    """Return what the program writes on both outputs, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]


class TestObserved:
    def test_each_line_is_written_once_with_its_request(self) -> None:
        """Whoever follows one request through CloudWatch needs its id in every line, and no line twice."""
        written = [line for line in lines(PROGRAM) if "_aws" not in line]

        assert [(line["event"], line["request_id"], line["cold_start"]) for line in written] == [
            ("batch_recorded", "req-1", True),
            ("batch_failed", "req-1", True),
            ("batch_recorded", "req-2", False),
            ("batch_failed", "req-2", False),
        ]
        assert written[0] | {"timestamp": ""} == {
            "timestamp": "",
            "level": "INFO",
            "event": "batch_recorded",
            "logger": "shared.flow.record",
            "service": "events",
            "cold_start": True,
            "request_id": "req-1",
            "server_id": 7,
            "size_bytes": 12,
        }
        assert "ZeroDivisionError" in written[1]["traceback"]

    def test_level_is_that_of_the_settings(self) -> None:
        """Debug lines are for whoever asked for them."""
        written = [line["event"] for line in lines(PROGRAM, EDGEPOST_LOG_LEVEL="debug") if "_aws" not in line]

        assert written.count("not_written") == 2

    def test_figures_are_in_the_embedded_metric_format(self) -> None:
        """CloudWatch makes metrics of these lines (embedded metric format specification)."""
        figures = [line for line in lines(PROGRAM) if "_aws" in line]

        assert [(line["service"], line["RecordsDone"], line["RecordsFailed"]) for line in figures] == [
            ("events", [1], [1])
        ] * 2
        assert figures[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Edgepost"

    def test_standalone_runs_the_handlers_without_it(self) -> None:
        """Standalone has a log of its own: the handlers themselves configure nothing."""
        program = """
import logging, sys
from functions.events import handler as events
from functions.scheduled import handler as scheduled
assert "functions.telemetry" not in sys.modules
assert logging.root.handlers == [] and logging.root.level == logging.WARNING
"""
        assert lines(program) == []


class TestFigures:
    def test_of_a_batch_count_what_was_done_and_what_was_not(self) -> None:
        """Failed records come again, so they are no loss, but somebody must see them."""
        answer = {"batchItemFailures": [{"itemIdentifier": "b"}]}

        assert of_batch({"Records": [{}, {}, {}]}, answer) == {"RecordsDone": 2, "RecordsFailed": 1}

    def test_of_a_minute_without_work_are_none(self) -> None:
        """A line of log for every minute in which nothing was due would be paid for."""
        assert of_minute({}, {"done": 0}) == {}
        assert of_minute({}, {"done": 3}) == {"EntriesDone": 3}
