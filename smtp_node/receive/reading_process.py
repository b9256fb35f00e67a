"""A process that reads strangers' reports, beside the one that receives.

It is started by the first mail that needs it, works on one after the other, and lets
everybody else go first.  If it dies its mails are answered with 451 and the next one
starts it again; it ends when the receiving process has ended, however that was.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from shared.domain.errors import Unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

NICENESS = 10


class ReadingProcess:
    """An ``Aside`` with a process of its own."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def __call__(self, work: Callable[[bytes], T], raw: bytes) -> T:
        """Return what the work makes of the mail.

        Raises:
            Unavailable: the process has died.
            MailError: whatever the work raises.
        """
        pool = self._pool
        if pool is None:
            # Spawned, not forked: this process has threads and open connections.
            pool = self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work, raw)
        except BrokenProcessPool as exc:
            log.exception("reading_process_died", extra={"size_bytes": len(raw)})
            if self._pool is pool:
                self._pool = None
            raise Unavailable("the process that reads reports has died") from exc

    def close(self) -> None:
        """End the process; what it has not read yet is not read.  Twice: nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """Prepare the new process: it is asked to end by the receiving one alone, and ends with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
