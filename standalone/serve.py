"""``edgepost serve``: everything in one process tree on this machine.

In this order, so that nothing is running when something is wrong: the data
directory, its lock, the doors, the store with the first things in it, and then
the parts.  Each failure is one line on standard error and exit status 2.
"""

import asyncio
import contextlib
import logging
import resource
import sys
from collections.abc import Callable, Mapping, Sequence

from shared.domain.errors import MailError
from shared.flow.initialize import FirstRun
from shared.settings import Settings
from shared.telemetry import configure_logging
from standalone.data_dir import DataDirLock, fresh_run_dir, prepare
from standalone.log_writer import ThreadedLineHandler
from standalone.parts import CONFIGURATION, PARTS, Part
from standalone.sockets import close_all, open_all, ports_of, write_ports
from standalone.starting import CannotStart
from standalone.supervisor import Patience, Supervisor
from standalone.wiring import edgepost_version, first_run

log = logging.getLogger(__name__)

FILES = 65_536
"""Open files of a part, if the system allows so many."""

Welcome = Callable[[FirstRun, Mapping[str, int]], str]
"""Makes the text for a terminal, secrets included, from the first things and the ports of the doors."""


def serve(
    settings: Settings,
    *,
    welcome: Welcome | None = None,
    parts: Sequence[Part] = PARTS,
    patience: Patience | None = None,
) -> int:
    """Run until a signal; return the exit status: 0, 1 if a part had to be killed, 2 if it cannot start.

    Args:
        settings: as the parts will read them from the same environment.
        welcome: text shown on a terminal once everything is ready; never shown elsewhere, it holds secrets.
        parts: what is run.
        patience: how long the supervisor waits.
    """
    lock = DataDirLock(settings.data_dir)
    try:
        prepare(settings.data_dir)
        lock.acquire()
        return _serve(settings, welcome, parts, patience)
    except (CannotStart, MailError) as exc:
        sys.stderr.write(f"edgepost: {exc}\n")
        return CONFIGURATION
    finally:
        lock.release()


def _serve(settings: Settings, welcome: Welcome | None, parts: Sequence[Part], patience: Patience | None) -> int:
    _raise_file_limit()
    run_dir = fresh_run_dir(settings.data_dir)
    ports_file = settings.data_dir / "ports.json"
    ports_file.unlink(missing_ok=True)
    listening = open_all(settings)
    try:
        first = asyncio.run(first_run(settings))
        ports = ports_of(listening)
        write_ports(settings.data_dir, ports)
        configure_logging(settings.log_level, handler=ThreadedLineHandler(), part="supervisor")

        def on_ready() -> None:
            log.info("edgepost_started", extra={"version": edgepost_version(), "ports": ports})
            _greet(first, ports, settings, welcome)

        return asyncio.run(Supervisor(parts, listening, run_dir, on_ready=on_ready, patience=patience).run())
    finally:
        close_all(listening)
        ports_file.unlink(missing_ok=True)


def _greet(first: FirstRun, ports: Mapping[str, int], settings: Settings, welcome: Welcome | None) -> None:
    """Say on standard output that it runs; secrets only to a terminal, never into a log."""
    if welcome and sys.stdout.isatty():
        text = welcome(first, ports)
    else:
        where = ", ".join(f"{door} on port {port}" for door, port in ports.items())
        text = f"Edgepost is ready: {where}."
        if first.secrets:
            text += f"\nThe keys of the first start are in {(settings.data_dir / 'first-run.json').absolute()}"
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
