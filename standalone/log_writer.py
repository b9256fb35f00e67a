"""Log lines written by a thread of their own, so that a stuck reader never stops mail.

A pipe whose reader hangs blocks whoever writes to it.  Lines wait here, up to a
bound; beyond it they are dropped, and the next line written says how many.
"""

import atexit
import json
import logging
import os
import select
import threading
from collections import deque

MAX_WAITING = 10_000
"""Lines that may wait; at 300 bytes each about 3 MB."""

MAX_AT_ONCE = 200
FLUSH_S = 1.0
"""How long the end of the process may wait for the reader."""


class ThreadedLineHandler(logging.Handler):
    """Formats on the calling thread, writes on its own."""

    def __init__(self, descriptor: int = 2, *, max_waiting: int = MAX_WAITING) -> None:
        """Write to a file descriptor, standard error unless told."""
        super().__init__()
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._lines: deque[str | threading.Event] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        threading.Thread(target=self._write_forever, name="log-writer", daemon=True).start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line; never waits for the reader."""
        if len(self._lines) >= self._max_waiting:
            self._dropped += 1
            return
        try:
            line = self.format(record)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            # A field that cannot be shown: logging says so on standard error and goes on.
            self.handleError(record)
            return
        self._lines.append(line)
        self._wake.set()

    def flush(self) -> None:
        """Wait, for a second at most, until what waits now is written."""
        reached = threading.Event()
        self._lines.append(reached)
        self._wake.set()
        reached.wait(FLUSH_S)

    def _write_forever(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                self._write_batch([self._lines.popleft() for _ in range(min(len(self._lines), MAX_AT_ONCE))])

    def _write_batch(self, batch: list[str | threading.Event]) -> None:
        lines = [each for each in batch if isinstance(each, str)]
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(json.dumps({"level": "warning", "event": "log_lines_dropped", "lines": dropped}))
        chunk = b""
        for raw in (f"{line}\n".encode() for line in lines):
            # Several processes share the pipe: only writes up to PIPE_BUF never mix (POSIX write()).
            if len(chunk) + len(raw) > select.PIPE_BUF:
                self._write(chunk)
                chunk = b""
            chunk += raw
        self._write(chunk)
        for each in batch:
            if isinstance(each, threading.Event):
                each.set()

    def _write(self, raw: bytes) -> None:
        remaining = memoryview(raw)
        while remaining:
            try:
                remaining = remaining[os.write(self._descriptor, remaining) :]
            except OSError:
                # The reader is gone or the disk is full: these lines are lost, mail is not.
                return
