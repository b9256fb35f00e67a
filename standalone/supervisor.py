"""Keeps the parts running: starts them, starts them again, and ends them together.

| what happens | what it does |
| --- | --- |
| a part ends by itself | starts it again after 0.2 s, doubled up to 10 s; once it ran for 60 s, from 0.2 s again |
| a part cannot start as configured (status 2), before all were ready once | ends everything with status 2 |
| SIGTERM, SIGINT or SIGHUP | SIGTERM to all parts; after 30 s SIGKILL |
| a second such signal | SIGKILL to all parts at once |
| it is killed itself | the parts see their lifeline end and drain |

It has no state that outlives it; ``parts.json`` in the run directory shows the present one.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from standalone.parts import CONFIGURATION, DRAIN, Part
from standalone.sockets import Listening, close_all

log = logging.getLogger(__name__)

OWN_MAPPING_BYTES = 1024 * 1024
"""Buffers from this size on go back to the system when they are freed.

Without it glibc raises its bound up to 32 MB once such a buffer was freed (mallopt(3), M_MMAP_THRESHOLD), and a
part keeps for good what a few large messages took.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits; tests shrink it."""

    first_wait: timedelta = timedelta(seconds=0.2)
    longest_wait: timedelta = timedelta(seconds=10)
    counts_as_running: timedelta = timedelta(seconds=60)
    drain: timedelta = DRAIN

    def wait_after(self, failures: int) -> timedelta:
        """Return the wait before the next start; ``failures`` in a row, 1 or more."""
        # The bound keeps the power small when a part has failed for days.
        growth = 1 << min(failures - 1, 30)
        return min(self.longest_wait, self.first_wait * growth)


@dataclass(slots=True)
class State:
    """One part as it is now."""

    pid: int = 0
    up: bool = False
    ready: bool = False
    restarts: int = 0


class Supervisor:
    """One process tree, run once."""

    def __init__(
        self,
        parts: Sequence[Part],
        listening: Listening,
        run_dir: Path,
        *,
        on_ready: Callable[[], None],
        patience: Patience | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Take what is to be run.

        Args:
            parts: all started at once.
            listening: sockets, by door; closed when the end begins.
            run_dir: an empty directory for this start.
            on_ready: called once, when all parts have been ready.
            patience: the waits.
            environ: environment of the parts; this process's if None.
        """
        self._parts = parts
        self._listening = listening
        self._run_dir = run_dir
        self._on_ready = on_ready
        self._patience = patience or Patience()
        self._environ = _environment(os.environ if environ is None else environ)
        self._states = {part.name: State() for part in parts}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._killed = False
        self._was_ready = False
        self._misconfigured = False

    async def run(self) -> int:
        """Run until a signal; return 0, or 1 if a part had to be killed, or 2 if one can never start."""
        lifeline, held = os.pipe()
        with _signals(self._on_signal):
            keepers = [asyncio.create_task(self._keep(part, lifeline)) for part in self._parts]
            await self._stop.wait()
            await self._end(keepers)
        os.close(lifeline)
        os.close(held)
        if self._misconfigured:
            return CONFIGURATION
        return 1 if self._killed else 0

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            log.warning("kill_requested", extra={"signal": number.name})
            self._kill()
            return
        log.info("stop_requested", extra={"signal": number.name})
        self._stop.set()

    # --- One part, again and again

    async def _keep(self, part: Part, lifeline: int) -> None:
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            status = await self._run_once(part, lifeline)
            if self._stop.is_set():
                return
            if status == CONFIGURATION and not self._was_ready:
                self._misconfigured = True
                self._stop.set()
                return
            ran = timedelta(seconds=time.monotonic() - started)
            failures = 1 if ran >= self._patience.counts_as_running else failures + 1
            wait = self._patience.wait_after(failures)
            log.error(
                "part_exited",
                extra={"part_name": part.name, "status": status, "failures": failures, "delay_s": wait.total_seconds()},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait.total_seconds())
            self._states[part.name].restarts += 1

    async def _run_once(self, part: Part, lifeline: int) -> int:
        state = self._states[part.name]
        heard, tell = os.pipe()
        try:
            process = await self._start(part, lifeline, tell)
        except OSError:
            # No memory or no process left: the same wait as for a part that crashed.
            log.exception("part_not_started", extra={"part_name": part.name})
            os.close(heard)
            return 1
        finally:
            os.close(tell)
        self._running[part.name] = process
        state.pid, state.up = process.pid, True
        self._note_states()
        listener = asyncio.create_task(self._hear(part, heard))
        if self._stop.is_set():
            # The end began while the process was being made, so it has not been told.
            _send(process, signal.SIGTERM)
        status = await process.wait()
        await listener
        del self._running[part.name]
        state.up = state.ready = False
        self._note_states()
        return status

    async def _start(self, part: Part, lifeline: int, tell: int) -> asyncio.subprocess.Process:
        sockets = [(door, each.fileno()) for door in part.doors for each in self._listening[door]]
        listens = [argument for door, number in sockets for argument in ("--listen", f"{door}={number}")]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "standalone.part", part.name, part.module),
            *("--lifeline", str(lifeline), "--ready", str(tell), "--run-dir", str(self._run_dir)),
            *listens,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(lifeline, tell, *(number for _, number in sockets)),
            env=self._environ,
        )

    async def _hear(self, part: Part, descriptor: int) -> None:
        """Wait for the part's word that it is ready, or for its end."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
            said = os.read(descriptor, 16)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        if not said:
            return
        state = self._states[part.name]
        state.ready = True
        self._note_states()
        log.info("part_ready", extra={"part_name": part.name, "pid": state.pid, "restarts": state.restarts})
        if not self._was_ready and all(each.ready for each in self._states.values()):
            self._was_ready = True
            self._on_ready()

    # --- All of them

    async def _end(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        # Nobody but the parts holds the doors from here: once they have closed theirs, a client is refused at once.
        close_all(self._listening)
        for process in self._running.values():
            _send(process, signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._patience.drain.total_seconds())
        if late:
            log.error("drain_took_too_long", extra={"parts": sorted(self._running)})
            self._kill()
            await asyncio.wait(late)
        for keeper in keepers:
            keeper.result()
        log.info("edgepost_stopped")

    def _kill(self) -> None:
        self._killed = True
        for process in self._running.values():
            _send(process, signal.SIGKILL)

    def _note_states(self) -> None:
        unfinished = self._run_dir / "parts.json.new"
        try:
            unfinished.write_text(json.dumps({name: asdict(state) for name, state in self._states.items()}) + "\n")
            unfinished.replace(self._run_dir / "parts.json")
        except OSError:
            # A full disk: the figures are late, the parts run.
            log.warning("part_states_not_written")


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _environment(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment in which a part finds this code, wherever it is started, and gives memory back."""
    given = {"MALLOC_MMAP_THRESHOLD_": str(OWN_MAPPING_BYTES), **given}
    root = Path(__file__).resolve().parent.parent
    if root.name in ("site-packages", "dist-packages"):
        return given
    return {**given, "PYTHONPATH": os.pathsep.join(filter(None, (str(root), given.get("PYTHONPATH", ""))))}


@contextlib.contextmanager
def _signals(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
