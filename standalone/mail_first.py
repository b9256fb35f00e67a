"""Mail first: while much mail flows, webhooks take only a part of one processor, and catch up afterwards.

Five endpoints cost more processor time than the mail they tell of.  Priorities of the
system do not help: a process that is given little time may hold the database's lock
meanwhile, and then the mail waits for it.  So the consumers hold themselves back.
"""

import math
import time
from collections.abc import Callable

MUCH_PER_S = 50.0
"""Events a second that count as much: below it there is time for everything."""

SHARE = 0.2
"""Of one processor, for all consumers together."""

MEMORY_S = 1.0
"""How fast the rate of events is forgotten."""

LONGEST_REST_S = 2.0


class MailFirst:
    """Says how long webhooks should rest."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        """Know of no mail yet.

        Args:
            clock: monotonic seconds.
            cpu: seconds of processor time that this process has used.
        """
        self._clock = clock
        self._cpu = cpu
        self._rate = 0.0
        self._noted = clock()
        self._used = cpu()

    def note(self, events: int) -> None:
        """Take note of a batch of events: each tells of mail."""
        self._rate = self._rate_now() + events / MEMORY_S
        self._noted = self._clock()

    @property
    def much(self) -> bool:
        """Whether much mail flows."""
        return self._rate_now() > MUCH_PER_S

    def rest_s(self) -> float:
        """Return how long to rest for what was used since the last call; 0 unless much mail flows."""
        used, self._used = self._cpu() - self._used, self._cpu()
        return min(LONGEST_REST_S, used * (1 / SHARE - 1)) if self.much else 0.0

    def _rate_now(self) -> float:
        """Return the rate, halved for each ``MEMORY_S`` without a further event."""
        return self._rate * math.pow(0.5, (self._clock() - self._noted) / MEMORY_S)
