"""SQS's batch calls, each entry with an outcome of its own.

A batch may succeed in part: what failed for SQS's own reasons is sent again.  A receipt that is
no longer valid is no failure, as the ports promise.  If a request is refused as a whole because
something in it is wrong, its entries go one by one: one caller's entry must not fail another's.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shared.adapters.aws.coalescing import NotDone
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS, SDKError, code_of
from shared.domain.errors import StorageUnavailable

_OUTDATED = frozenset(("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"))
"""A receipt that names nothing any more (SQS: errors of DeleteMessage and ChangeMessageVisibility)."""

_WRONG = _OUTDATED | {
    "BatchRequestTooLong",
    "InvalidAttributeValue",
    "InvalidMessageContents",
    "MissingParameter",
    "UnsupportedOperation",
}
"""Codes of a request that holds something wrong."""

# Any: requests and answers are the JSON of SQS's API reference.
Entry = dict[str, Any]


class SQSBatches:
    """Batch calls to one queue."""

    def __init__(self, clients: Clients, threads: Threads, url: str, patience: Patience, rng: random.Random) -> None:
        self._clients = clients
        self._threads = threads
        self._url = url
        self._patience = patience
        self._rng = rng

    async def send(self, entries: Sequence[Entry]) -> Sequence[NotDone | None]:
        """Send up to ten messages."""
        return await self._outcomes("send_message_batch", entries, forgiven=frozenset())

    async def hide(self, entries: Sequence[Entry]) -> Sequence[NotDone | None]:
        """Change how long up to ten messages stay hidden."""
        return await self._outcomes("change_message_visibility_batch", entries, forgiven=_OUTDATED)

    async def delete(self, entries: Sequence[Entry]) -> Sequence[NotDone | None]:
        """Delete up to ten messages."""
        return await self._outcomes("delete_message_batch", entries, forgiven=_OUTDATED)

    async def _outcomes(
        self, operation: str, entries: Sequence[Entry], *, forgiven: frozenset[str]
    ) -> Sequence[NotDone | None]:
        outcomes: list[NotDone | None] = [None] * len(entries)
        left = dict(enumerate(entries))
        for pause in (*self._patience.pauses, None):
            try:
                answer = await self._call(operation, left)
            except SDK_ERRORS as exc:
                if _code(code_of(exc)) in _WRONG and len(entries) > 1:
                    return await self._one_by_one(operation, entries, forgiven=forgiven)
                outcome = _outcome(operation, _code(code_of(exc)), exc, forgiven)
                outcomes = [outcome if number in left else outcomes[number] for number in range(len(entries))]
                return outcomes
            again: dict[int, Entry] = {}
            for failure in answer.get("Failed", ()):
                number, code = int(failure["Id"]), _code(failure["Code"])
                if failure.get("SenderFault") and "Throttl" not in code:
                    outcomes[number] = _outcome(operation, code, None, forgiven)
                else:
                    again[number] = left[number]
            if not again:
                return outcomes
            left = again
            if pause is not None:
                await asyncio.sleep(pause.total_seconds() * self._rng.uniform(0.5, 1))
        failed = NotDone(StorageUnavailable, f"AWS did not do {operation}: some entries failed each time")
        return [failed if number in left else outcome for number, outcome in enumerate(outcomes)]

    async def _one_by_one(
        self, operation: str, entries: Sequence[Entry], *, forgiven: frozenset[str]
    ) -> Sequence[NotDone | None]:
        alone = [self._outcomes(operation, [entry], forgiven=forgiven) for entry in entries]
        return [outcome for (outcome,) in await asyncio.gather(*alone)]

    async def _call(self, operation: str, entries: Mapping[int, Entry]) -> Mapping[str, Any]:
        numbered = [{"Id": str(number), **entry} for number, entry in entries.items()]
        send = partial(getattr(self._clients.sqs, operation), QueueUrl=self._url, Entries=numbered)
        answer: Mapping[str, Any] = await self._threads.run(send)
        return answer


def _outcome(operation: str, code: str, cause: SDKError | None, forgiven: frozenset[str]) -> NotDone | None:
    if code in forgiven:
        return None
    if code in _WRONG:
        return NotDone(ValueError, f"SQS refuses an entry of {operation}: {code}", cause)
    return NotDone(StorageUnavailable, f"AWS did not do {operation}: {code}", cause)


def _code(code: str) -> str:
    """Return a code without the prefix that SQS's older protocol gives it (``AWS.SimpleQueueService.``)."""
    return code.rpartition(".")[2]
