"""Every figure that a part keeps: the one table of names, kinds and labels.

``docs/operations.md`` lists the same, and a test holds them together.  Names
that start with ``postal_`` are Postal's (app/lib/smtp_server/*, script/*), so
that dashboards made for it find them; ``postal_figures.py`` derives the others
of Postal's from ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a figure does over time."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"


QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what this machine does by itself."""

PATIENT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bounds for what waits for other machines."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: counters are shown with ``_total`` at the end, histograms hold seconds."""

    name: str
    kind: Kind
    help: str
    labels: Sequence[str] = ()
    bounds_s: Sequence[float] = ()


def _counter(name: str, text: str, *labels: str) -> Figure:
    return Figure(name, Kind.COUNTER, text, labels)


def _seconds(name: str, text: str, *labels: str, bounds_s: Sequence[float] = QUICK_S) -> Figure:
    return Figure(name, Kind.HISTOGRAM, text, labels, bounds_s)


_DECLARED = (
    # --- Messages, by server
    _counter("edgepost_messages_accepted_total", "Messages accepted, one for each recipient.", "server", "via"),
    _counter(
        "edgepost_delivery_attempts_total",
        "Attempts to deliver, by what became of them; incoming mail is delivered to the endpoints of routes.",
        "server",
        "direction",
        "outcome",
    ),
    # --- Delivery
    _seconds(
        "edgepost_delivery_seconds",
        "Time of one attempt, from taking the job to its outcome.",
        "direction",
        "outcome",
        bounds_s=PATIENT_S,
    ),
    _seconds(
        "edgepost_message_queue_latency_seconds",
        "Time a job waited on the work queue after it was due.",
        bounds_s=PATIENT_S,
    ),
    _counter("edgepost_worker_errors_total", "Unexpected failures in the worker loop, by kind.", "error"),
    # --- Webhooks
    _counter("edgepost_webhook_notices_total", "Notices of parcels, by what became of them.", "server", "result"),
    _seconds("edgepost_webhook_seconds", "Time of the slowest request of a parcel.", bounds_s=PATIENT_S),
    _counter("edgepost_webhook_endpoints_disabled_total", "Endpoints that were disabled for failing.", "server"),
    # --- SMTP in
    _counter("postal_smtp_server_connections_total", "SMTP connections taken."),
    _counter("postal_smtp_server_tls_connections_total", "SMTP connections that began TLS."),
    _counter("postal_smtp_server_exceptions_total", "Unexpected failures in SMTP sessions.", "type", "error"),
    _counter("postal_smtp_server_commands_total", "SMTP commands received.", "command"),
    _counter("postal_smtp_server_client_errors", "SMTP refusals that are the client's doing.", "error"),
    _counter("postal_smtp_server_messages_total", "Messages taken by SMTP.", "type", "tls"),
    _counter("edgepost_smtp_refused_connections_total", "SMTP connections refused by a limit.", "reason"),
    _counter("edgepost_smtp_closed_sessions_total", "SMTP sessions that this end closed.", "reason"),
    _counter("edgepost_scans_total", "Mails given to a scanner, by what came of it.", "scanner", "result"),
    _seconds("edgepost_scan_seconds", "Time a mail waited for a scanner.", "scanner", bounds_s=PATIENT_S),
    # --- HTTP
    _counter("edgepost_http_requests_total", "HTTP requests answered.", "area", "status"),
    _seconds("edgepost_http_request_seconds", "Time to answer an HTTP request.", "area"),
    _counter("edgepost_tracking_hits_total", "Opens, clicks and unsubscriptions, by what became of them.", "result"),
    # --- Functions run by standalone
    _counter("edgepost_function_runs_total", "Runs of a function, by whether it failed.", "function", "result"),
    _counter("edgepost_function_records_total", "Queue messages given to a function, by result.", "function", "result"),
    _seconds("edgepost_function_seconds", "Time of one run of a function.", "function", bounds_s=QUICK_S),
)

FIGURES: Mapping[str, Figure] = {each.name: each for each in _DECLARED}

MAX_SERVERS = 1_000
"""Servers with figures of their own in one process; those beyond are counted together as ``other``."""
