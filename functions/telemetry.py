"""How a function is seen on AWS: log lines and figures by Powertools for AWS Lambda.

Only ``entry.py`` of a function uses this, which only Lambda starts; standalone
calls the handlers themselves and has its own log and figures.

Every logger's lines become one line of JSON on standard output, with the
request's id and whether it was a cold start; the fields of ``extra`` are there
under their names, secrets left out as in ``shared.telemetry``.  Figures are
printed in CloudWatch's embedded metric format.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from shared.settings import Settings
from shared.telemetry import NOISY_LOGGERS, plain

# Any: an event is JSON as it comes, and so is the answer; the context is AWS's own object.
Handler: TypeAlias = Callable[[dict[str, Any], Any], dict[str, Any]]
Figures: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, int]]
"""Gives what to count, by name in CloudWatch, from an event and its answer."""

NAMESPACE = "Edgepost"

NAMES = {"message": "event", "name": "logger", "exception": "traceback", "function_request_id": "request_id"}
"""What Powertools calls otherwise than standalone's lines do."""

SAME_IN_EVERY_LINE = ("function_arn", "function_memory_size", "function_name")
"""Not written: the log group says it, and each byte of a log is billed."""


def observed(name: str, handler: Handler, *, figures: Figures | None = None) -> Handler:
    """Return the handler with its log lines and figures.

    Configures the logging of the whole process.

    Args:
        name: the function's, such as ``events``.
        handler: what does the work.
        figures: what to count beside cold starts; each name is a metric that AWS bills.

    Raises:
        SettingsError: the environment is not usable.
    """
    logger = _logger(name, Settings.from_env(os.environ).log_level.upper())
    metrics = Metrics(namespace=NAMESPACE, service=name)

    @logger.inject_lambda_context
    @functools.wraps(handler)
    def observing(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - AWS's own object
        answer = handler(event, context)
        for figure, amount in (figures(event, answer) if figures else {}).items():
            metrics.add_metric(name=figure, unit=MetricUnit.Count, value=amount)
        if metrics.metric_set:
            metrics.flush_metrics()
        return answer

    return observing


def of_batch(event: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, int]:
    """Count the records of a queue that were done, and those that were not."""
    failed = len(answer["batchItemFailures"])
    return {"RecordsDone": len(event["Records"]) - failed, "RecordsFailed": failed}


def of_minute(_: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, int]:
    """Count what had become due."""
    return {"EntriesDone": answer["done"]} if answer["done"] else {}


def _logger(name: str, level: str) -> Logger:
    logger = Logger(
        service=name,
        level=level,
        json_serializer=_line,
        use_rfc3339=True,
        utc=True,
        serialize_stacktrace=False,
        log_record_order=["timestamp", "level", "message", "name"],
        name="%(name)s",
        location=None,
    )
    # Lambda's own handler would say everything a second time.
    logging.basicConfig(level=level, handlers=[logger.registered_handler], force=True)
    logging.captureWarnings(capture=True)
    for noisy in NOISY_LOGGERS:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    return logger


def _line(fields: Mapping[str, Any]) -> str:
    named = {NAMES.get(name, name): value for name, value in fields.items() if name not in SAME_IN_EVERY_LINE}
    return json.dumps(plain(named), ensure_ascii=False, separators=(",", ":"))
