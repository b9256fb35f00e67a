"""Header fields that tell an endpoint what the scanners said, and the removal of forged ones.

``X-Postal-Spam``, ``-Spam-Threshold``, ``-Spam-Score`` and ``X-Postal-Threat`` are Postal's
(app/lib/message_dequeuer/incoming_message_processor.rb), ``X-Edgepost-Spam-Checks`` is ours.
Postal writes them on unscanned mail too, as ``no``; we write of a mail only what is known.
"""

import re
from collections.abc import Iterator

from shared.domain.headers import BLOCK_BYTES
from shared.domain.inspection import MAX_CHECKS, Inspection, Ruling, shown
from shared.domain.message import SpamStatus
from shared.domain.tenancy import Server

NAMES = (
    b"X-Postal-Spam",
    b"X-Postal-Spam-Threshold",
    b"X-Postal-Spam-Score",
    b"X-Postal-Threat",
    b"X-Edgepost-Spam-Checks",
)

_FIELD = re.compile(
    rb"^(?:%s)[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+" % b"|".join(NAMES), re.IGNORECASE | re.MULTILINE
)

_FIELD_END = re.compile(rb"\r\n(?![ \t])")


def inspection_fields(ruling: Ruling, server: Server) -> bytes:
    """Return the fields, each with its CRLF; none about what was not scanned."""
    return b"".join(line.encode("ascii") + b"\r\n" for line in _lines(ruling, server))


def _lines(ruling: Ruling, server: Server) -> Iterator[str]:
    inspection = ruling.inspection
    if inspection.score is not None:
        yield f"X-Postal-Spam: {'yes' if ruling.status is SpamStatus.SPAM else 'no'}"
        yield f"X-Postal-Spam-Threshold: {shown(server.spam_threshold)}"
        yield f"X-Postal-Spam-Score: {shown(inspection.score)}"
    if inspection.threat is not None:
        yield f"X-Postal-Threat: {'yes' if inspection.threat else 'no'}"
    if inspection.checks:
        yield "X-Edgepost-Spam-Checks: " + ",\r\n\t".join(_checks(inspection))


def _checks(inspection: Inspection) -> Iterator[str]:
    for each in inspection.checks[:MAX_CHECKS]:
        comment = each.description.translate(str.maketrans("()\\", "[]/"))
        yield f"{each.name}={shown(each.score)}" + (f" ({comment})" if comment else "")


def without_forged_fields(raw: bytes) -> bytes:
    """Return the mail without fields of these names, the very same bytes if it has none.

    Every line of the head that some reader could take for one goes, also in a head that breaks the rules.
    """
    if raw.startswith(b"\r\n"):
        return raw  # no head
    # However long the head: a reader without our limits reads all of it.
    end = raw.find(b"\r\n\r\n")
    end = end + 2 if end >= 0 else len(raw)
    blocks = [_FIELD.subn(b"", raw[start:stop]) for start, stop in _blocks(raw, end)]
    if not any(found for _, found in blocks):
        return raw
    return b"".join((*(clean for clean, _ in blocks), memoryview(raw)[end:]))


def _blocks(raw: bytes, end: int) -> Iterator[tuple[int, int]]:
    """Yield where parts of the head begin and end, whole fields each: one search over all stops every other thread."""
    start = 0
    while start < end:
        line_end = _FIELD_END.search(raw, start + BLOCK_BYTES, end)
        stop = line_end.end() if line_end else end
        yield start, stop
        start = stop
