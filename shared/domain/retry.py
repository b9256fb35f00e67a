"""When a soft failure is tried again, and when we give up."""

import re
from dataclasses import dataclass
from datetime import timedelta

FIRST_WAIT = timedelta(minutes=5)
GROWTH = 1.3
MAX_HINT = timedelta(hours=4)
HINT_MARGIN = timedelta(seconds=10)
SHORT_HINTS = 3
MAX_ATTEMPTS = 18


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits between attempts: ``first_wait`` x ``growth`` ** n, then the end.

    Five minutes, growing by 1.3 each time, 18 attempts, as Postal does
    (app/models/concerns/has_locking.rb, calculate_retry_time).  RFC 5321 §4.5.4.1
    suggests at least 30 minutes between tries and 4-5 days before giving up;
    we start sooner and stop after about a day on purpose.
    """

    first_wait: timedelta = FIRST_WAIT
    growth: float = GROWTH
    max_attempts: int = MAX_ATTEMPTS

    def wait_after(self, failures: int, *, jitter: float) -> timedelta:
        """Return how long to wait after a soft failure.

        Args:
            failures: soft failures so far, counting this one; 1 or more.
            jitter: 0 to 1; spreads retries by up to a tenth more, so that mail
                that failed together does not come back together.

        Raises:
            ValueError: failures is below 1.
        """
        if failures < 1:
            raise ValueError(f"failures starts at 1, got {failures}")
        return self.first_wait * (self.growth ** (failures - 1) * (1 + jitter / 10))

    def exhausted(self, failures: int) -> bool:
        """Whether the last allowed attempt has failed."""
        return failures >= self.max_attempts


def hinted_or_own(hint: timedelta | None, own: timedelta, failures: int) -> timedelta:
    """Return the wait that counts: the remote's if it gave one.

    Postal always takes the remote's.  After ``SHORT_HINTS`` failures we no longer let
    it shorten our own: a host that is down and always says "in 5 seconds" would
    use up all attempts within minutes.
    """
    if hint is None:
        return own
    return hint if failures <= SHORT_HINTS else max(hint, own)


def hinted_wait(reply: str) -> timedelta | None:
    """Return the wait that a reply asks for, as Postal reads it, or None.

    "try again in 300 seconds" and "… 5 minutes" count, plus ten seconds
    (app/senders/smtp_sender.rb).  A hint is taken at most as ``MAX_HINT``: a remote
    may not park our mail for a year.
    """
    if found := re.search(r"(\d{1,6}) ?seconds?\b", reply, re.IGNORECASE):
        asked = timedelta(seconds=int(found[1]))
    elif found := re.search(r"(\d{1,4}) ?minutes?\b", reply, re.IGNORECASE):
        asked = timedelta(minutes=int(found[1]))
    else:
        return None
    return min(asked + HINT_MARGIN, MAX_HINT)
