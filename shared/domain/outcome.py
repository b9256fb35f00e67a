"""What became of an attempt: returned by the delivery side, never raised."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from shared.domain.message import Evidence


@dataclass(frozen=True, slots=True)
class Sent:
    """The remote took responsibility: 250 after the final dot (RFC 5321 §4.2.5)."""

    details: str
    output: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, slots=True)
class SoftFail:
    """It did not work this time; the retry schedule says when next."""

    details: str
    output: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    retry_after: timedelta | None = None
    """What the remote's reply asked for, if it did."""

    maybe_sent: bool = False
    """Lost after the final dot and before its reply: may be sent more than once (RFC 1047)."""


@dataclass(frozen=True, slots=True)
class HardFail:
    """It will never work; no further attempt."""

    details: str
    output: str = ""
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, slots=True)
class Held:
    """It waits for a person."""

    details: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not now, for a reason of ours: costs no attempt and leaves no delivery row."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Processed:
    """Incoming mail that was taken in and goes nowhere."""

    details: str


Outcome: TypeAlias = Sent | SoftFail | HardFail | Held | Postponed | Processed
