"""Hits as events for the events queue, and the bounds that keep a flood of them from costing anything.

The wire form is ``shared.domain.event``'s, made here without importing it; a test
holds the two together.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from functions.edge.request import Request
from functions.edge.visitors import Visitor
from shared.tokens import Named

EVENT_NAMESPACE = bytes.fromhex("5d0c1a642c1b5f0e9a570f6a3b0f9e21")
"""Of the ids of all events (RFC 9562 §5.5)."""

SAME_HIT_S = 10
"""Hits of one client on one thing within so many seconds are one."""

BURST = 20
REFILL_S = 60.0
"""Events that one process makes for one message and kind: so many at once, then one a minute."""

MOST_MESSAGES = 10_000
"""Messages whose hits a process counts at a time; the one that was hit least recently makes room."""


class Hit(NamedTuple):
    """One event to be queued."""

    server_id: int
    body: str
    """JSON."""


def hit_event(kind: str, named: Named, at_s: float, *, subject: str, data: dict[str, Any]) -> Hit:
    """Return the event of a hit."""
    name = f"{named.server_id}:{named.message_id}:0:{kind}" + (f":{subject}" if subject else "")
    optional = {"subject": subject, "data": data}
    body = {
        "v": 1,
        "id": _uuid5(name),
        "kind": kind,
        "server": named.server_id,
        "message": named.message_id,
        "attempt": 0,
        "at": int(at_s * 1000),
        "details": "",
        "output": "",
        **{name: value for name, value in optional.items() if value},
    }
    return Hit(named.server_id, json.dumps(body, separators=(",", ":")))


def subject_of(request: Request, named: Named, at_s: float) -> str:
    """Return the name of a hit among those of its message: equal for a repetition, different for another visit."""
    seen = f"{request.ip}\0{request.user_agent}\0{named.target}"
    return f"{int(at_s) // SAME_HIT_S:x}-{hashlib.sha256(seen.encode()).hexdigest()[:12]}"


def visit_data(request: Request, named: Named, visitor: Visitor, skipped: int) -> dict[str, Any]:
    """Return what an open or a click tells."""
    data: dict[str, Any] = {
        "url": named.target,
        "ip": request.ip,
        "user_agent": request.user_agent,
        "class": visitor.kind,
        "reason": visitor.reason,
        "skipped": skipped,
    }
    return {name: value for name, value in data.items() if value}


class Cap:
    """Lets a few hits of each message through, and counts the others.

    What it counts travels with the next hit that is let through (``skipped``), so no
    number of hits makes more than a trickle of events; a count that is waiting ends
    with the process.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, int, int], tuple[float, float, int]] = {}

    def take(self, kind: str, named: Named) -> int | None:
        """Return how many hits were held back since the last one; None to hold this one back too."""
        key, now = (kind, named.server_id, named.message_id), self._clock()
        left, since, skipped = self._kept.pop(key, (float(BURST), now, 0))
        left = min(float(BURST), left + (now - since) / REFILL_S)
        while len(self._kept) >= MOST_MESSAGES:
            del self._kept[next(iter(self._kept))]
        if left < 1:
            self._kept[key] = (left, now, skipped + 1)
            return None
        self._kept[key] = (left - 1, now, 0)
        return skipped


def _uuid5(name: str) -> str:
    digest = bytearray(hashlib.sha1(EVENT_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
