"""What scanners found in a mail, and what a server makes of it, as Postal does.

| mail | is spam if | fails if |
| --- | --- | --- |
| incoming | score > ``spam_threshold`` | score >= ``spam_failure_threshold``, or as spam where its route says Fail |
| outgoing | score >= ``outbound_spam_threshold`` | it is spam |
| either | | a scanner names a threat (Postal only notes that) |

(app/lib/message_dequeuer/incoming_message_processor.rb and outgoing_message_processor.rb.)
What fails for its score is spam too, whatever the other threshold.  What was not scanned is
neither spam nor clean: it is ``NotChecked``, and passes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.message import SpamStatus
from shared.domain.routes import SpamMode
from shared.domain.tenancy import Server

SPAM_FAILS = "Message is spam and the route specifies it should be failed."
MAX_CHECKS = 50
MAX_CHECK_NAME = 64
MAX_DESCRIPTION = 160
MAX_THREAT = 120
MAX_SCORE = 100_000.0
"""Higher scores, and lower than its negative, count as this: SpamAssassin's own test mail has 1,000."""

_UNPRINTABLE = re.compile(r"[^ -~]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule that matched; ``check`` makes it."""

    name: str
    score: float
    description: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the scanners said of one mail."""

    score: float | None = None
    """None: not scanned for spam."""

    checks: Sequence[Check] = ()
    threat: str | None = None
    """Name of what was found; empty if nothing was; None: not scanned for viruses."""

    @property
    def inspected(self) -> bool:
        """Whether any scanner has seen it."""
        return self.score is not None or self.threat is not None

    def summary(self) -> str:
        """Return the checks in one line, those that count most first."""
        weighty = sorted(self.checks, key=lambda each: -abs(each.score))
        return ", ".join(f"{each.name}={shown(each.score)}" for each in weighty)


NOT_INSPECTED = Inspection()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a server makes of what the scanners said."""

    inspection: Inspection = NOT_INSPECTED
    status: SpamStatus = SpamStatus.NOT_CHECKED
    failure: str = ""
    """Why the message fails, for its delivery row; empty if it passes."""


NO_RULING = Ruling()


def check(name: str, score: float, description: str = "") -> Check:
    """Return a check with what a scanner said of it: a scanner repeats words of the mail, so they are made harmless."""
    return Check(
        _NOT_IN_NAMES.sub("_", name)[:MAX_CHECK_NAME] or "_", bounded(score), plain(description)[:MAX_DESCRIPTION]
    )


def plain(text: str) -> str:
    """Return the text on one line of printable ASCII, fit for a header field."""
    return _UNPRINTABLE.sub(" ", text).strip()


def bounded(score: float) -> float:
    """Return a score within what is kept, to two decimals; never -0.0."""
    return round(max(-MAX_SCORE, min(score, MAX_SCORE)), 2) + 0.0


def shown(score: float) -> str:
    """Return a score or threshold as Postal writes it: ``5.0``."""
    return str(float(score))


def rule_incoming(inspection: Inspection, server: Server, spam_mode: SpamMode) -> Ruling:
    """Return what becomes of a mail for a route of the server; Quarantine is decided when it is passed on."""
    score, most = inspection.score, server.spam_failure_threshold
    status = _status(score, spam=score is not None and (score > server.spam_threshold or score >= most))
    failure = _threat(inspection)
    if not failure and score is not None and score >= most:
        failure = (
            "Message's spam score is higher than the failure threshold for this server."
            f" Threshold is currently {shown(most)}."
        )
    if not failure and status is SpamStatus.SPAM and spam_mode is SpamMode.FAIL:
        failure = SPAM_FAILS
    return Ruling(inspection, status, failure)


def rule_outgoing(inspection: Inspection, threshold: float) -> Ruling:
    """Return whether a mail may go out from a server with that ``outbound_spam_threshold``."""
    score = inspection.score
    status = _status(score, spam=score is not None and score >= threshold)
    failure = _threat(inspection)
    if not failure and score is not None and status is SpamStatus.SPAM:
        failure = f"Message is likely spam. Threshold is {shown(threshold)} and the message scored {shown(score)}."
    return Ruling(inspection, status, failure)


def _status(score: float | None, *, spam: bool) -> SpamStatus:
    if score is None:
        return SpamStatus.NOT_CHECKED
    return SpamStatus.SPAM if spam else SpamStatus.NOT_SPAM


def _threat(inspection: Inspection) -> str:
    return f"Message contains a threat: {inspection.threat}." if inspection.threat else ""
