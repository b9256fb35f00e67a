"""Calls to DynamoDB through PynamoDB's connection, tried again only where that is safe.

PynamoDB builds and sends the requests (``Connection.get_operation_kwargs`` and ``dispatch``);
its own wrappers for put and update are not used, because they cannot ask for the old item of
a failed condition, and their errors lose it.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pynamodb.connection.base import Connection, MetaTable

from shared.adapters.aws.attributes import PARTITION, SORT, Attributes
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS, SDKError, Verdict, code_of, verdict_on
from shared.domain.errors import StorageUnavailable
from shared.ports import Key


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


class _Connection(Connection):
    """PynamoDB's connection on a client of ours, with our time limits and name."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    @property
    def client(self) -> Any:  # noqa: ANN401  # botocore has no types
        """The client, made at the first call."""
        return self._clients.dynamodb


class DynamoDB:
    """The tables of one installation."""

    def __init__(self, clients: Clients, threads: Threads, patience: Patience, rng: random.Random) -> None:
        self._connection = _Connection(clients)
        self._threads = threads
        self._patience = patience
        self._rng = rng

    def add_table(self, name: str, *, sort: bool) -> None:
        """Say what the table's keys are; nothing is asked from DynamoDB."""
        names = {PARTITION: "HASH"} | ({SORT: "RANGE"} if sort else {})
        self._connection.add_meta_table(
            MetaTable(
                {
                    "TableName": name,
                    "KeySchema": [{"AttributeName": each, "KeyType": kind} for each, kind in names.items()],
                    "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in names],
                }
            )
        )

    # Any: requests and answers are the JSON of DynamoDB's API reference.

    def arguments(self, table: str, key: Key | str, /, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the request that PynamoDB makes of these parts; see ``Connection.get_operation_kwargs``."""
        partition, sort = (key, None) if isinstance(key, str) else key
        return self._connection.get_operation_kwargs(table, partition, sort, **parts)

    async def call(self, operation: str, arguments: Mapping[str, Any], *, repeatable: bool = True) -> dict[str, Any]:
        """Return DynamoDB's answer, after a few tries if need be.

        Args:
            operation: a name of its API, such as ``PutItem``.
            arguments: the request.
            repeatable: whether doing it twice is as good as once.

        Raises:
            ConditionFailed: a condition did not hold.
            Cancelled: a transaction was not done.
            Doubtful: it may have been done; only if not repeatable.
            StorageUnavailable: it is not known to have been done.
            ValueError: DynamoDB says that the request is wrong, for example an item over 400 KB.
        """
        doubtful = False
        for pause in (*self._patience.pauses, None):
            try:
                return await self._threads.run(partial(self._connection.dispatch, operation, dict(arguments)))
            except SDK_ERRORS as exc:
                verdict = verdict_on(exc)
                if verdict is Verdict.CONDITION:
                    raise ConditionFailed(exc, doubtful=doubtful) from exc
                if verdict is Verdict.CANCELLED:
                    raise Cancelled(exc, doubtful=doubtful) from exc
                if verdict is Verdict.INVALID:
                    raise ValueError(f"DynamoDB refuses {operation}: {exc}") from exc
                doubtful = doubtful or verdict is Verdict.UNKNOWN
                if doubtful and not repeatable:
                    raise Doubtful(exc, doubtful=True) from exc
                if pause is None or verdict is Verdict.HOPELESS:
                    raise unavailable(operation, exc) from exc
            await self.rest(pause.total_seconds())
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
