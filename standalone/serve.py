"""``edgepost serve``: everything in one process tree on this machine; ``edgepost node``: an SMTP node alone.

In this order, so that nothing is running when something is wrong: the data
directory, its lock, the doors, the store (with the first things in it, which
``serve`` makes and a node needs), and then the parts.  Each failure is one line
on standard error and exit status 2.
"""

import asyncio
import contextlib
import logging
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from shared.domain.errors import MailError
from shared.flow.initialize import FirstRun
from shared.settings import Settings
from shared.telemetry import configure_logging
from standalone.data_dir import DataDirLock, fresh_run_dir, prepare
from standalone.log_writer import ThreadedLineHandler
from standalone.parts import CONFIGURATION, NODE_PARTS, PARTS, Part
from standalone.sockets import close_all, open_all, ports_of, write_ports
from standalone.starting import CannotStart
from standalone.supervisor import Patience, Supervisor
from standalone.wiring import check_store, edgepost_version, first_run

log = logging.getLogger(__name__)

FILES = 65_536
"""Open files of a part, if the system allows so many."""

Welcome = Callable[[FirstRun, Mapping[str, int]], str]
"""Makes the text for a terminal, secrets included, from the first things and the ports of the doors."""

Greeting = Callable[[Mapping[str, int]], str]
"""Makes what is said on standard output when all parts are ready, from the ports of the doors."""


def serve(
    settings: Settings,
    *,
    welcome: Welcome | None = None,
    parts: Sequence[Part] = PARTS,
    patience: Patience | None = None,
) -> int:
    """Run everything until a signal; return the exit status: 0, 1 if a part had to be killed, 2 if it cannot start.

    Args:
        settings: as the parts will read them from the same environment.
        welcome: text shown on a terminal once everything is ready; never shown elsewhere, it holds secrets.
        parts: what is run.
        patience: how long the supervisor waits.
    """

    def open_store() -> Greeting:
        first = asyncio.run(first_run(settings))
        return partial(_greeting, first, settings, welcome)

    return _run(settings, open_store, parts, patience)


def serve_node(settings: Settings, *, parts: Sequence[Part] = NODE_PARTS, patience: Patience | None = None) -> int:
    """Run an SMTP node until a signal; the exit status is that of ``serve``.

    It works on the store of an installation that ``initialize`` has made; its API and its functions run elsewhere.
    """

    def open_store() -> Greeting:
        asyncio.run(check_store(settings))
        return lambda ports: f"The Edgepost node is ready: {_doors(ports)}."

    return _run(settings, open_store, parts, patience)


def _run(
    settings: Settings, open_store: Callable[[], Greeting], parts: Sequence[Part], patience: Patience | None
) -> int:
    lock = DataDirLock(settings.data_dir)
    try:
        prepare(settings.data_dir)
        lock.acquire()
        return _run_locked(settings, open_store, parts, patience)
    except (CannotStart, MailError) as exc:
        sys.stderr.write(f"edgepost: {exc}\n")
        return CONFIGURATION
    finally:
        lock.release()


def _run_locked(
    settings: Settings, open_store: Callable[[], Greeting], parts: Sequence[Part], patience: Patience | None
) -> int:
    _raise_file_limit()
    run_dir = fresh_run_dir(settings.data_dir)
    ports_file = settings.data_dir / "ports.json"
    ports_file.unlink(missing_ok=True)
    listening = open_all(settings)
    try:
        greeting = open_store()
        ports = ports_of(listening)
        write_ports(settings.data_dir, ports)
        configure_logging(settings.log_level, handler=ThreadedLineHandler(), part="supervisor")

        def on_ready() -> None:
            log.info("edgepost_started", extra={"version": edgepost_version(), "ports": ports})
            _say(greeting(ports))

        return asyncio.run(Supervisor(parts, listening, run_dir, on_ready=on_ready, patience=patience).run())
    finally:
        close_all(listening)
        ports_file.unlink(missing_ok=True)


def _greeting(first: FirstRun, settings: Settings, welcome: Welcome | None, ports: Mapping[str, int]) -> str:
    """Return what ``serve`` says; secrets only to a terminal, never into a log."""
    if welcome and sys.stdout.isatty():
        return welcome(first, ports)
    text = f"Edgepost is ready: {_doors(ports)}."
    if first.secrets:
        text += f"\nThe keys of the first start are in {(settings.data_dir / 'first-run.json').absolute()}"
    return text


def _doors(ports: Mapping[str, int]) -> str:
    return ", ".join(f"{door} on port {port}" for door, port in ports.items())


def _say(text: str) -> None:
    # Whoever reads standard output may be gone; mail goes on.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _raise_file_limit() -> None:
    """Allow as many open files as this user may have, within reason: each connection is one."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(most, FILES)
    if allowed < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
