"""All scanners of one node: asked at once, so many mails at a time, and never in the way of mail.

A scanner that is down, slow, or answers nonsense leaves the mail unscanned; that is logged, counted
(``edgepost_scans_total``), and the mail goes on.
"""

import asyncio
import logging
import time
from dataclasses import replace

from shared.domain.inspection import NOT_INSPECTED, Inspection
from smtp_node.scan.scanner import UNREACHABLE, ScanFailed, ScannedMail, Scanner

log = logging.getLogger(__name__)

AT_ONCE = 10
"""Mails that one process gives to one scanner at a time; clamd's MaxThreads is as many."""

TIMEOUT = "timeout"
BUSY = "busy"
"""Its time was up while others were being scanned."""

TOO_LARGE = "too_large"


class Scanning:
    """Asks a spam filter and a virus scanner, where there are any; one event loop's.

    Args:
        spam: says how much a mail looks like spam.
        virus: says what threat it carries.
    """

    def __init__(self, spam: Scanner | None = None, virus: Scanner | None = None) -> None:
        self._spam = None if spam is None else _Line(spam)
        self._virus = None if virus is None else _Line(virus)

    async def inspect(self, mail: ScannedMail) -> Inspection:
        """Return what the scanners say; never fails, and takes no longer than the longer of their timeouts."""
        if self._spam is None and self._virus is None:
            return NOT_INSPECTED
        spam, virus = await asyncio.gather(_ask(self._spam, mail), _ask(self._virus, mail))
        return replace(spam, threat=virus.threat)


class _Line:
    """A scanner, and who waits for it."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.turns = asyncio.Semaphore(AT_ONCE)


async def _ask(line: _Line | None, mail: ScannedMail) -> Inspection:
    if line is None:
        return NOT_INSPECTED
    began = time.monotonic()
    result, said, found = await _result(line, mail)
    fields = {
        "scanner": line.scanner.name,
        "result": result,
        "size_bytes": mail.size_bytes,
        "took_ms": round((time.monotonic() - began) * 1000),
    }
    if found.inspected or result == TOO_LARGE:
        log.info("mail_scanned", extra=fields)
    else:
        log.warning("scan_failed", extra=fields | {"reason": said})
    return found


async def _result(line: _Line, mail: ScannedMail) -> tuple[str, str, Inspection]:
    """Return a word for what came of it, what was said of a failure, and what was found."""
    scanner, waiting = line.scanner, True
    if mail.size_bytes > scanner.max_bytes:
        return TOO_LARGE, "", NOT_INSPECTED
    try:
        async with asyncio.timeout(scanner.timeout.total_seconds()), line.turns:
            waiting = False
            found = await scanner.scan(mail)
    except TimeoutError:
        return (BUSY if waiting else TIMEOUT), "", NOT_INSPECTED
    except ScanFailed as exc:
        return exc.reason, str(exc), NOT_INSPECTED
    except OSError as exc:
        return UNREACHABLE, type(exc).__name__, NOT_INSPECTED
    return ("threat" if found.threat else "done"), "", found
