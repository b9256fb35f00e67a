"""Postal's names for figures that we keep under our own (postal: app/lib/worker/*, app/util/health_server.rb).

Counters whose Postal name lacks ``_total`` are shown without a type, because
Prometheus' naming rules want the suffix on counters.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Alias:
    """A Postal figure: which of ours it is, the labels it adds and those of ours it takes over."""

    name: str
    ours: str
    help: str
    adds: Mapping[str, str]
    renames: Mapping[str, str]


ALIASES = (
    Alias(
        "postal_worker_job_executions",
        "edgepost_delivery_attempts",
        "Jobs run by the worker.",
        {"thread": "deliver", "job": "ProcessQueuedMessagesJob"},
        {},
    ),
    Alias(
        "postal_worker_job_runtime",
        "edgepost_delivery_seconds",
        "Time of one job of the worker, in seconds.",
        {"thread": "deliver", "job": "ProcessQueuedMessagesJob"},
        {},
    ),
    Alias("postal_worker_errors", "edgepost_worker_errors", "Errors in the worker.", {}, {"error": "error"}),
    Alias(
        "postal_worker_task_runtime",
        "edgepost_function_seconds",
        "Time of one scheduled task, in seconds.",
        {},
        {"function": "task"},
    ),
    Alias(
        "postal_message_queue_latency",
        "edgepost_message_queue_latency_seconds",
        "Time between a message being due and taken from the queue, in seconds.",
        {},
        {},
    ),
    Alias(
        "postal_smtp_server_client_errors",
        "postal_smtp_server_client_errors",
        "SMTP refusals that are the client's doing.",
        {},
        {"error": "error"},
    ),
)


def postal_metrics(ours: Iterable[Metric]) -> Iterator[Metric]:
    """Yield the Postal figures that can be made from ours; those without samples are left out."""
    by_name = {metric.name: metric for metric in ours}
    for alias in ALIASES:
        if source := by_name.get(alias.ours):
            yield _derived(alias, source)


def _derived(alias: Alias, source: Metric) -> Metric:
    kind = "histogram" if source.type == "histogram" else "unknown"
    # A counter's own suffix is dropped with its type.
    suffix = "_total" if kind == "unknown" else ""
    sums: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for sample in source.samples:
        kept = {alias.renames[name]: value for name, value in sample.labels.items() if name in alias.renames}
        bucket = {"le": sample.labels["le"]} if "le" in sample.labels else {}
        name = alias.name + sample.name.removeprefix(alias.ours).removesuffix(suffix)
        sums[name, tuple((kept | dict(alias.adds) | bucket).items())] += sample.value
    made = Metric(alias.name, alias.help, kind)
    made.samples = [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
    return made
