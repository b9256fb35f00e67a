"""The meter of one part: Prometheus figures in files that the http part reads.

Each part has one file for each kind of figure, named after the part and not
after its process: a part that was restarted goes on where it stopped, and no
file is left over.  The files are written in full before they are mapped into
memory, because touching a hole of a mapped file on a full disk ends the process.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.telemetry import Meter, NullMeter
from standalone.figures import FIGURES, MAX_SERVERS, Figure, Kind

log = logging.getLogger(__name__)

FILE_BYTES = {Kind.COUNTER: 2 << 20, Kind.HISTOGRAM: 1 << 20}
"""Room for 1,000 servers with eight figures each, and for some 4,000 histogram buckets."""


class UnknownFigure(ValueError):
    """The name or a label is not in the table of figures."""


def open_meter(run_dir: Path, part: str) -> Meter:
    """Return the meter of a part; one that keeps nothing if its files cannot be made.

    Figures must never keep mail from flowing.  Call once per process.
    """
    try:
        _make_files(run_dir / "metrics", part)
        return PrometheusMeter(run_dir / "metrics", part)
    except (OSError, RuntimeError):
        log.exception("metrics_unavailable")
        return NullMeter()


def _make_files(directory: Path, part: str) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for kind, size in FILE_BYTES.items():
        file = directory / f"{kind}_{part}.db"
        if not file.exists():
            unfinished = file.with_suffix(".new")
            unfinished.write_bytes(bytes(size))
            unfinished.replace(file)


class PrometheusMeter:
    """Keeps the figures of the table; others are noted once and dropped, or refused in tests."""

    def __init__(self, directory: Path, part: str, *, strict: bool = False) -> None:
        """Continue the part's files in the directory.

        Args:
            directory: where the files of all parts are.
            part: its name, without an underscore.
            strict: raise on a figure that is not in the table.
        """
        # The library takes the directory from the environment only, and looks there when a figure is made.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        from prometheus_client import Counter, Histogram, values  # noqa: PLC0415  # after the line above

        # Any: the library leaves this class untyped.
        value_class: Any = values.MultiProcessValue(process_identifier=lambda: part)  # type: ignore[no-untyped-call]
        values.ValueClass = value_class
        self._strict = strict
        self._servers: set[str] = set()
        self._unknown: set[str] = set()
        self._bound: dict[tuple[object, ...], Callable[[float], None]] = {}
        self._made: dict[str, Counter | Histogram] = {
            name: Counter(name, each.help, each.labels, registry=None)
            if each.kind is Kind.COUNTER
            else Histogram(name, each.help, each.labels, registry=None, buckets=each.bounds_s)
            for name, each in FIGURES.items()
        }

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter of the table."""
        bound = self._bound.get((name, *labels.items())) or self._bind(Kind.COUNTER, name, labels)
        bound(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Note a time in a histogram of the table."""
        bound = self._bound.get((name, *labels.items())) or self._bind(Kind.HISTOGRAM, name, labels)
        bound(seconds)

    def _bind(self, kind: Kind, name: str, labels: dict[str, str]) -> Callable[[float], None]:
        figure = FIGURES.get(name)
        if figure is None or figure.kind is not kind or set(labels) != set(figure.labels):
            self._refuse(kind, name, labels)
            return _drop
        labels, full = self._within_bounds(figure, labels)
        made = self._made[name]
        # Any: one of two types of the library, each with the method of its kind.
        child: Any = made.labels(**labels) if labels else made
        bound: Callable[[float], None] = child.inc if kind is Kind.COUNTER else child.observe
        if not full:
            self._bound[name, *labels.items()] = bound
        return bound

    def _within_bounds(self, figure: Figure, labels: dict[str, str]) -> tuple[dict[str, str], bool]:
        server = labels.get("server")
        if "server" not in figure.labels or server in self._servers:
            return labels, False
        if server is None or len(self._servers) >= MAX_SERVERS:
            return labels | {"server": "other"}, True
        self._servers.add(server)
        return labels, False

    def _refuse(self, kind: Kind, name: str, labels: dict[str, str]) -> None:
        if self._strict:
            raise UnknownFigure(f"{kind} {name} with {sorted(labels)} is not in standalone/figures.py")
        if name not in self._unknown:
            self._unknown.add(name)
            log.warning("metric_unknown", extra={"metric": name, "labels": sorted(labels)})


def _drop(_: float) -> None:
    """Keep nothing of a figure that is not in the table."""
