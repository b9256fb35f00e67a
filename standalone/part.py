"""One process of the tree: ``python -m standalone.part NAME MODULE …``, started by the supervisor only.

It ends when it is asked to (SIGTERM) and when the supervisor is gone: it holds
the reading end of a pipe whose writing end only the supervisor has, so the
kernel tells it even of a supervisor that was killed.
"""

import argparse
import asyncio
import gc
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import uvloop

from shared.settings import Settings, SettingsError
from shared.telemetry import Meter, configure_logging
from standalone.log_figures import LogFigures
from standalone.log_writer import ThreadedLineHandler
from standalone.metrics import open_meter
from standalone.parts import CONFIGURATION, DRAIN, Context
from standalone.sockets import inherited
from standalone.starting import CannotStart

# Not __name__: the module runs as __main__.
log = logging.getLogger("standalone.part")


class Ending:
    """Tells the part once that it has to end, and makes sure that it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tell: Callable[[], None] | None = None
        self._asked = False

    def listen(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, from any thread, when the part has to end; at once if it has to already."""
        with self._lock:
            self._tell = tell
            asked = self._asked
        if asked:
            tell()

    def ask(self) -> None:
        """End the part; kill it if it is still there after the drain.  Twice: nothing more."""
        with self._lock:
            first, self._asked = not self._asked, True
            tell = self._tell
        if first:
            threading.Thread(target=_kill_after_drain, name="drain-limit", daemon=True).start()
            if tell:
                tell()

    def watch(self, lifeline: int) -> None:
        """End the part when the supervisor is gone."""
        threading.Thread(target=self._wait_for_end_of, args=(lifeline,), name="lifeline", daemon=True).start()

    def _wait_for_end_of(self, lifeline: int) -> None:
        while os.read(lifeline, 1):
            pass
        log.warning("supervisor_gone")
        self.ask()


def _kill_after_drain() -> None:
    time.sleep(DRAIN.total_seconds())
    log.error("drain_took_too_long")
    logging.shutdown()
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Run the part until it has to end; return its exit status."""
    given = _parser().parse_args(arguments)
    # Ctrl-C reaches the whole group: the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = Ending()
    ending.watch(given.lifeline)
    try:
        settings = Settings.from_env(os.environ)
        meter = _observe(given, settings)
        module = importlib.import_module(given.module)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(module.run, given, settings, ending, meter))
    except (CannotStart, SettingsError) as exc:
        sys.stderr.write(f"edgepost {given.name}: {exc}\n")
        return CONFIGURATION
    return 0


def _observe(given: argparse.Namespace, settings: Settings) -> Meter:
    """Set up log lines and figures; return the part's meter."""
    handler = ThreadedLineHandler()
    configure_logging(settings.log_level, handler=handler, part=given.name)
    sys.excepthook = _log_unexpected
    meter = open_meter(given.run_dir, given.name)
    # Lines are counted from info on, whatever is written.
    root = logging.getLogger()
    handler.setLevel(root.level)
    root.setLevel(min(root.level, logging.INFO))
    root.addHandler(LogFigures(meter))
    return meter


def _log_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write what ended the part as one line, where Python would print a traceback."""
    log.error("part_failed", exc_info=(kind, error, trace))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="standalone.part")
    parser.add_argument("name")
    parser.add_argument("module")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--listen", action="append", default=[])
    return parser


async def _run(
    run: Callable[[Context], object], given: argparse.Namespace, settings: Settings, ending: Ending, meter: Meter
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.ask)

    def tell() -> None:
        loop.call_soon_threadsafe(stop.set)

    ending.listen(tell)
    context = Context(
        settings=settings,
        listening=inherited(given.listen),
        meter=meter,
        run_dir=given.run_dir,
        stop=stop,
        ready=lambda: _announce(given.ready),
    )
    made = run(context)
    if not asyncio.iscoroutine(made):
        raise TypeError(f"{given.module} has no async function run")
    await made


def _announce(descriptor: int) -> None:
    # What was made for the start lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        os.write(descriptor, b"ready\n")
        os.close(descriptor)
    except OSError:
        # The supervisor is gone; the lifeline says so too.
        log.warning("ready_unheard")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
