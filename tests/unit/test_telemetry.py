"""Log lines: one JSON object each, whatever they are given, and never a secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from shared.telemetry import MAX_TEXT, JSONFormatter, Meter, NullMeter, configure_logging


def line(
    message: str = "message_accepted", *arguments: object, error: BaseException | None = None, **fields: Any
) -> Any:
    """Return what the formatter makes of a record, read back."""
    record = logging.makeLogRecord(
        {"name": "shared.flow.accept", "levelname": "INFO", "msg": message, "args": arguments, "created": 1.5, **fields}
    )
    if error:
        record.exc_info = (type(error), error, error.__traceback__)
    text = JSONFormatter(part="http").format(record)
    assert "\n" not in text
    return json.loads(text)


class TestJSONFormatter:
    def test_says_when_what_and_who(self) -> None:
        """These names are fixed: searches and alerts are written against them."""
        assert line(server_id=1, size_bytes=5_000) == {
            "ts": "1970-01-01T00:00:01.500Z",
            "level": "info",
            "event": "message_accepted",
            "logger": "shared.flow.accept",
            "part": "http",
            "server_id": 1,
            "size_bytes": 5_000,
        }

    @pytest.mark.parametrize(
        "name", ["key", "api_key", "Password", "smtp-password", "token", "Authorization", "secret"]
    )
    def test_drops_fields_that_are_called_as_secrets_are(self, name: str) -> None:
        """A log is read by more people than a store, and kept for longer."""
        assert "hunter2" not in json.dumps(line(**{name: "hunter2", "nested": {name: "hunter2"}}))

    @pytest.mark.parametrize("name", ["keys", "token_count", "monkey", "message_id"])
    def test_keeps_fields_that_only_look_like_it(self, name: str) -> None:
        """What is dropped is missed when something has to be found."""
        assert line(**{name: 7})[name] == 7

    def test_holds_the_traceback_of_an_error(self) -> None:
        """One line, so that it is not torn apart by what collects the lines."""
        try:
            int("no number")
        except ValueError as exc:
            made = line(error=exc)

        assert "no number" in made["error"]
        assert "test_telemetry.py" in made["traceback"]

    @pytest.mark.parametrize("value", ["a\nb\r\0", "\ud800", {1: {2, 3}}, b"\xff", object(), float("inf"), ["x"] * 3])
    def test_writes_any_value(self, value: object) -> None:
        """A log call must not be what breaks a delivery."""
        assert "value" in line(value=value)

    def test_bounds_what_a_peer_made_long(self) -> None:
        """Replies of other hosts stand in fields, and their length is not ours to choose."""
        assert len(line(reply="x" * 1_000_000)["reply"]) == MAX_TEXT

    def test_takes_a_library_message_whose_arguments_do_not_fit(self) -> None:
        """Half a message is better than none, and much better than an exception."""
        assert line("got %d of %d", 1)["event"] == "got %d of %d"

    def test_a_field_cannot_pass_itself_off_as_ours(self) -> None:
        """Who logged and when is not the field's to say."""
        assert line(ts="never", part="other")["part"] == "http"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger; it is as before after the test."""
    logger = logging.getLogger()
    handlers, level = [*logger.handlers], logger.level
    yield logger
    logging.captureWarnings(capture=False)
    logger.handlers[:] = handlers
    logger.setLevel(level)


class TestConfigureLogging:
    def test_writes_from_the_level_on(self, root: logging.Logger) -> None:
        """An operator who asks for warnings gets no flood of news."""
        written = io.StringIO()
        configure_logging("warning", handler=logging.StreamHandler(written), part="deliver")

        logging.getLogger("a").info("left_out")
        logging.getLogger("a").warning("written", extra={"server_id": 3})

        lines = [json.loads(each) for each in written.getvalue().splitlines()]
        assert [(each["event"], each["part"], each["server_id"]) for each in lines] == [("written", "deliver", 3)]

    def test_last_call_counts(self, root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Configured twice, a line must not be written twice."""
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        configure_logging("info")
        configure_logging("info")

        logging.getLogger("a").info("written")

        assert len(sys.stderr.getvalue().splitlines()) == 1  # type: ignore[attr-defined]


class TestNullMeter:
    def test_takes_anything(self) -> None:
        """What is not measured must work all the same."""
        meter: Meter = NullMeter()

        meter.count("anything", 2, server="1")
        meter.observe("anything", 0.5)
