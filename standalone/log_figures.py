"""Figures made from log lines: what is worth a line of its own is worth counting.

| line | figure |
| --- | --- |
| ``message_accepted`` | ``edgepost_messages_accepted_total`` |
| ``attempt_settled``, | ``edgepost_delivery_attempts_total``, ``edgepost_delivery_seconds`` and, |
| ``inbound_settled`` | if it says how long the job waited, ``edgepost_message_queue_latency_seconds`` |
| ``mail_scanned``, ``scan_failed`` | ``edgepost_scans_total`` and ``edgepost_scan_seconds`` |
| ``webhook_parcel_settled`` | ``edgepost_webhook_notices_total`` and ``edgepost_webhook_seconds`` |
| ``webhook_endpoint_disabled`` | ``edgepost_webhook_endpoints_disabled_total`` |
| those of ``WORKER_ERRORS`` | ``edgepost_worker_errors_total`` |

Flows stay free of meters: they log what happened, once, and everything else follows from that.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from shared.telemetry import Meter

WORKER_ERRORS = (
    "attempt_crashed",
    "claim_lost",
    "heartbeat_failed",
    "job_dropped",
    "job_interrupted",
    "job_unreadable",
    "queue_receive_failed",
    "settle_failed",
    "storage_unwell",
    "taking_stopped",
    "tracking_failed",
)


class LogFigures(logging.Handler):
    """Counts lines; writes none."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(logging.INFO)
        self._meter = meter

    def emit(self, record: logging.LogRecord) -> None:
        """Count the line if there is a figure for it."""
        if isinstance(record.msg, str) and (rule := RULES.get(record.msg)):
            rule(self._meter, vars(record))


# Any: a line's fields are of many types; each rule turns those it uses into text or a number.
Fields = Mapping[str, Any]


def _accepted(meter: Meter, fields: Fields) -> None:
    number = int(fields.get("recipients", 1))
    labels = {"server": str(fields.get("server_id", "other")), "via": str(fields.get("via", "other"))}
    meter.count("edgepost_messages_accepted_total", number, **labels)


def _settled(meter: Meter, fields: Fields) -> None:
    outcome = str(fields.get("outcome", "other"))
    server = str(fields.get("server_id", "other"))
    direction = str(fields.get("direction", "other"))
    meter.count("edgepost_delivery_attempts_total", server=server, direction=direction, outcome=outcome)
    if "took_ms" in fields:
        meter.observe("edgepost_delivery_seconds", fields["took_ms"] / 1000, direction=direction, outcome=outcome)
    if "waited_ms" in fields:
        meter.observe("edgepost_message_queue_latency_seconds", fields["waited_ms"] / 1000)


def _error(meter: Meter, fields: Fields) -> None:
    meter.count("edgepost_worker_errors_total", error=str(fields["msg"]))


def _parcel(meter: Meter, fields: Fields) -> None:
    server = str(fields.get("server_id", "other"))
    for result in ("delivered", "failed", "unsent", "given_up"):
        if number := int(fields.get(result, 0)):
            meter.count("edgepost_webhook_notices_total", number, server=server, result=result)
    if fields.get("took_ms"):
        meter.observe("edgepost_webhook_seconds", fields["took_ms"] / 1000)


def _endpoint_disabled(meter: Meter, fields: Fields) -> None:
    meter.count("edgepost_webhook_endpoints_disabled_total", server=str(fields.get("server_id", "other")))


def _scan(meter: Meter, fields: Fields) -> None:
    scanner = str(fields.get("scanner", "other"))
    meter.count("edgepost_scans_total", scanner=scanner, result=str(fields.get("result", "other")))
    meter.observe("edgepost_scan_seconds", fields.get("took_ms", 0) / 1000, scanner=scanner)


RULES: Mapping[str, Callable[[Meter, Fields], None]] = {
    "message_accepted": _accepted,
    "attempt_settled": _settled,
    "inbound_settled": _settled,
    "mail_scanned": _scan,
    "scan_failed": _scan,
    "webhook_endpoint_disabled": _endpoint_disabled,
    "webhook_parcel_settled": _parcel,
    **dict.fromkeys(WORKER_ERRORS, _error),
}
