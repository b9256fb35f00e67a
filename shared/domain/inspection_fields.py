"""Header fields that tell an endpoint what the scanners said.

``X-Postal-Spam``, ``-Spam-Threshold``, ``-Spam-Score`` and ``X-Postal-Threat`` are Postal's
(app/lib/message_dequeuer/incoming_message_processor.rb), ``X-Edgepost-Spam-Checks`` is ours.
Postal writes them on unscanned mail too, as ``no``; we write of a mail only what is known.
"""

from collections.abc import Iterator

from shared.domain.forged_fields import ForgedFields
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

INSPECTION_FIELDS = ForgedFields(NAMES)


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
