"""When a webhook is tried again, when its endpoint is left alone, and when it is given up.

======================================  ==========================================
what the endpoint did                   what follows
======================================  ==========================================
2xx                                     delivered
410                                     delivered never; the endpoint is disabled
anything else, or no answer in time     the next wait of ``WAITS``
429 or 503 with Retry-After             at least that long, at most ``MOST_RETRY_AFTER``
``TRIPS_AFTER`` failures in a row       nothing is tried for a while (the breaker)
fails for ``DISABLED_AFTER``            the endpoint is disabled
======================================  ==========================================

After the last wait an event is given up if its endpoint works for others; while
it works for none, the last wait repeats until the endpoint is disabled, so that
an outage of the whole horizon loses nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    *(timedelta(hours=6),) * 12,
)
"""Three days in all, as Standard Webhooks asks; no wait is longer than 6 h, so that recovery is noticed."""

MOST_RETRY_AFTER = timedelta(hours=6)
DISABLED_AFTER = timedelta(days=5)

TRIPS_AFTER = 5
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
"""Of the breaker: doubled each time it opens again."""


def wait_before(attempt: int, *, retry_after: timedelta | None = None, jitter: float = 0) -> timedelta | None:
    """Return how long to wait before an attempt, or None after the last one.

    Args:
        attempt: the number of the coming attempt; 2 or more.
        retry_after: what the endpoint asked for.
        jitter: 0 to 1; adds up to a tenth, so that what failed together does not come back together.
    """
    if attempt - 2 >= len(WAITS):
        return None
    own = WAITS[attempt - 2] * (1 + jitter / 10)
    return own if retry_after is None else max(own, min(retry_after, MOST_RETRY_AFTER))


def pause_after(pauses: int) -> timedelta:
    """Return how long the breaker stays open when it opens for the n-th time in a row, counted from 1."""
    return min(FIRST_PAUSE * (1 << min(pauses - 1, 20)), LONGEST_PAUSE)


def retry_after(status: int, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return the wait that an answer asks for (RFC 9110 §10.2.3): seconds or a date.  Header names in lower case."""
    text = headers.get("retry-after", "").strip()
    if status not in (429, 503) or not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return timedelta(seconds=int(text))
    try:
        asked = parsedate_to_datetime(text)
    except ValueError:
        return None
    if asked.tzinfo is None:
        asked = asked.replace(tzinfo=UTC)
    return max(asked - now, timedelta(0))
