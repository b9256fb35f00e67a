"""The spam thresholds of a server: their ranges, and how people write them.

The ranges are those of Postal's form (app/views/servers/spam.html.haml); the threshold for
outgoing mail has none there, and here that of the failure threshold and what lies below.
"""

import math
from typing import Final, Literal, NamedTuple, TypeAlias

from shared.domain.errors import InvalidValue


class Range(NamedTuple):
    """What a threshold may be, both ends included."""

    name: str
    least: float
    most: float


SPAM: Final = Range("the spam threshold", -10, 25)
SPAM_FAILURE: Final = Range("the spam failure threshold", 10, 50)
OUTBOUND: Final = Range("the outbound spam threshold", -10, 50)

NONE: Final = "none"
"""Takes the threshold for outgoing mail away: it is not scanned any more."""

OutboundChange: TypeAlias = float | Literal["none"] | None
"""A new threshold, none any more, or no change."""


def checked_threshold(value: float, allowed: Range) -> float:
    """Return the threshold with at most two decimals, as scores have.

    Raises:
        InvalidValue: it is not in its range.
    """
    if not (math.isfinite(value) and allowed.least <= value <= allowed.most):
        raise InvalidValue(f"{allowed.name} is a number from {allowed.least} to {allowed.most}")
    return round(value, 2) + 0.0


def outbound_change(text: str | None) -> OutboundChange:
    """Return what a person wrote: a number or ``none``; None if nothing was written.

    Raises:
        InvalidValue: another text.
    """
    if text is None:
        return None
    if text == NONE:
        return NONE
    try:
        return float(text)
    except ValueError:
        raise InvalidValue(f"{OUTBOUND.name} is a number or {NONE}") from None
