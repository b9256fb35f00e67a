"""Calls to AWS, tried again only where that is safe; the SDK itself repeats none of them.

The SDK's own retries cannot tell whether an earlier try may have been carried out, repeat an
addition blindly, and take an answer that was cut off for a whole one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from shared.adapters.aws.attributes import Attributes
from shared.adapters.aws.session import Patience
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS, SDKError, Verdict, code_of, verdict_on
from shared.domain.errors import StorageUnavailable

T = TypeVar("T")


class Failed(Exception):
    """The call was not done, for a reason that its caller has to judge."""

    def __init__(self, cause: SDKError, *, doubtful: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.doubtful = doubtful
        """Whether an earlier try may have been carried out."""


class ConditionFailed(Failed):
    """A condition did not hold."""

    @property
    def item(self) -> Attributes | None:
        """The item as it was, if there is one and the request asked for it."""
        # PynamoDB's own error keeps code and message only; the answer is on botocore's, its cause.
        response = getattr(self.cause.__cause__, "response", {})
        found: Attributes | None = response.get("Item")
        return found


class Reason(NamedTuple):
    """Why one write of a transaction stood in its way."""

    code: str
    message: str
    item: Attributes | None


class Cancelled(Failed):
    """A transaction was not done."""

    @property
    def reasons(self) -> Sequence[Reason | None]:
        """One for each write, in order; None for a write that was not in the way."""
        given = getattr(self.cause, "cancellation_reasons", [])
        return [each and Reason(each.code, each.message or "", each.raw_item) for each in given]


class Doubtful(Failed):
    """It may have been carried out, and must not be repeated blindly."""


class Calls:
    """Makes the calls of one caller.

    Args:
        threads: where they block.
        patience: when they are tried again.
        rng: spreads the tries of those who met; nothing secret is drawn from it.
    """

    def __init__(self, threads: Threads, patience: Patience, rng: random.Random) -> None:
        self.threads = threads
        self._patience = patience
        self._rng = rng

    async def run(self, what: str, call: Callable[[], T]) -> T:
        """Return what a blocking call returns; it may be carried out twice.

        Raises: like ``attempt``.
        """
        return await self.attempt(what, partial(self.threads.run, call))

    async def attempt(self, what: str, start: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Return what the call gives, after a few tries if need be.

        Args:
            what: AWS's name of the operation, for the error.
            start: begins a try.
            repeatable: whether doing it twice is as good as once.

        Raises:
            ConditionFailed: a condition did not hold.
            Cancelled: a transaction was not done.
            Doubtful: it may have been done; only if not repeatable.
            StorageUnavailable: it is not known to have been done.
            ValueError: AWS says that the request is wrong, for example an item over 400 KB.
        """
        doubtful = False
        for pause_s in (*self.pauses_s, None):
            try:
                return await start()
            except SDK_ERRORS as exc:
                verdict = verdict_on(exc)
                if verdict is Verdict.CONDITION:
                    raise ConditionFailed(exc, doubtful=doubtful) from exc
                if verdict is Verdict.CANCELLED:
                    raise Cancelled(exc, doubtful=doubtful) from exc
                if verdict is Verdict.INVALID:
                    raise ValueError(f"AWS refuses {what}: {exc}") from exc
                doubtful = doubtful or verdict is Verdict.UNKNOWN
                if doubtful and not repeatable:
                    raise Doubtful(exc, doubtful=True) from exc
                if pause_s is None or verdict is Verdict.HOPELESS:
                    raise unavailable(what, exc) from exc
            await self.rest(pause_s)
        raise AssertionError("the last try returns or raises")

    async def rest(self, longest_s: float) -> None:
        """Wait between half of the time and all of it, so that callers who met do not meet again."""
        await asyncio.sleep(longest_s * self._rng.uniform(0.5, 1))

    @property
    def pauses_s(self) -> tuple[float, ...]:
        """The longest waits between tries."""
        return tuple(pause.total_seconds() for pause in self._patience.pauses)


def unavailable(what: str, cause: SDKError) -> StorageUnavailable:
    """Return the port's error; names the operation and AWS's code, never what was in the request."""
    return StorageUnavailable(f"AWS did not do {what}: {code_of(cause)}")
