"""What ``/metrics`` shows: the figures of all parts, merged, and the present state of queues and processes.

A server's API key sees what is its own: the samples that carry its ``server`` label.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.domain.errors import StorageUnavailable
from shared.domain.ids import ServerId
from shared.ports import Depth, Queue
from standalone.postal_figures import postal_metrics

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

PROCESS_FIGURES: Mapping[str, str] = {
    "edgepost_process_cpu_seconds": "Processor time of a part, user and system together.",
    "edgepost_process_resident_memory_bytes": "Memory of a part that lies in RAM.",
    "edgepost_process_open_fds": "File descriptors that a part has open.",
    "edgepost_process_start_time_seconds": "Start of a part's process since the Unix epoch.",
}
"""Of what the library reads below /proc, what is shown; elsewhere than on Linux there is nothing."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from."""

    run_dir: Path
    queues: Mapping[str, Queue]
    """By the name they are shown under: ``events``, and each pool's as ``work-POOL``."""


async def scrape(sources: Sources, *, server: ServerId | None = None) -> bytes:
    """Return everything as Prometheus text, or what is one server's."""
    if server is not None:
        return await asyncio.to_thread(_text, lambda: _only(str(server), _kept(sources.run_dir)))
    depths = await _depths(sources.queues)
    return await asyncio.to_thread(
        _text, lambda: [*_with_postal(_kept(sources.run_dir)), *_queues(depths), *_processes(sources.run_dir)]
    )


class _Gathered(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _text(gather: Callable[[], Iterable[Metric]]) -> bytes:
    return generate_latest(_Gathered(gather()))


def _kept(run_dir: Path) -> list[Metric]:
    """Return what the parts have counted; empty if their files cannot be read."""
    try:
        # Any: the library leaves this class untyped.
        collector: Any = MultiProcessCollector(None, path=str(run_dir / "metrics"))  # type: ignore[no-untyped-call]
        return sorted(collector.collect(), key=lambda metric: str(metric.name))
    except (OSError, RuntimeError, ValueError):
        log.exception("metrics_unreadable")
        return []


def _with_postal(metrics: list[Metric]) -> Iterator[Metric]:
    yield from metrics
    yield from postal_metrics(metrics)


def _only(server: str, metrics: Iterable[Metric]) -> Iterator[Metric]:
    for metric in metrics:
        own = [sample for sample in metric.samples if sample.labels.get("server") == server]
        if own:
            metric.samples = own
            yield metric


async def _depths(queues: Mapping[str, Queue]) -> Mapping[str, Depth]:
    found: dict[str, Depth] = {}
    for name, queue in queues.items():
        try:
            found[name] = await queue.depth()
        except StorageUnavailable:
            # A gap in one figure says more than no figures at all.
            log.exception("queue_depth_unknown", extra={"queue": name})
    return found


def _queues(depths: Mapping[str, Depth]) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "edgepost_queue_messages",
        "Messages on a queue, by state; a large count may be capped.",
        labels=("queue", "state"),
    )
    for name, depth in depths.items():
        for state in Depth.__slots__:
            messages.add_metric((name, state), getattr(depth, state))
    yield messages


def _processes(run_dir: Path) -> Iterator[Metric]:
    up = GaugeMetricFamily("edgepost_part_up", "Whether a part's process runs and is ready.", labels=("part",))
    restarts = CounterMetricFamily("edgepost_part_restarts", "Starts of a part after the first one.", labels=("part",))
    processes: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for part, state in _states(run_dir).items():
        up.add_metric((part,), int(state["ready"]))
        restarts.add_metric((part,), state["restarts"])
        if state["up"]:
            _add_process(processes, part, int(state["pid"]))
    return iter((up, restarts, *processes.values()))


def _states(run_dir: Path) -> Mapping[str, Mapping[str, int]]:
    try:
        states: dict[str, Mapping[str, int]] = json.loads((run_dir / "parts.json").read_text())
    except (OSError, ValueError):
        return {}
    return states


def _add_process(processes: dict[str, GaugeMetricFamily | CounterMetricFamily], part: str, pid: int) -> None:
    """Add one process's figures, with the part's name as label."""
    found: Sequence[Metric] = list(ProcessCollector("edgepost", lambda: pid, registry=None).collect())
    for metric in found:
        if metric.name not in PROCESS_FIGURES:
            continue
        family = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
        shown = processes.setdefault(metric.name, family(metric.name, PROCESS_FIGURES[metric.name], labels=("part",)))
        shown.add_metric((part,), metric.samples[0].value)
