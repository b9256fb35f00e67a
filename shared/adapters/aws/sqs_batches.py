"""SQS's batch calls, each entry with an outcome of its own.

A batch may succeed in part: what failed for SQS's own reasons is sent again.  A receipt that is
no longer valid is no failure, as the ports promise.  If a request is refused as a whole because
something in it is wrong, its entries go one by one: one caller's entry must not fail another's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

from shared.adapters.aws.calls import Calls
from shared.adapters.aws.coalescing import NotDone
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import code_of
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
Entry: TypeAlias = dict[str, Any]


class _WrongRequest(Exception):
    """A request was refused as a whole."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SQSBatches:
    """Batch calls to one queue."""

    def __init__(self, clients: Clients, calls: Calls, url: str) -> None:
        self._clients = clients
        self._calls = calls
        self._url = url

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
        failed = NotDone(StorageUnavailable, f"AWS did not do {operation}: some entries failed each time")
        for pause_s in (*self._calls.pauses_s, None):
            try:
                failures = await self._failures(operation, left)
            except _WrongRequest as wrong:
                if len(entries) > 1:
                    return await self._one_by_one(operation, entries, forgiven=forgiven)
                return [_outcome(operation, wrong.code, forgiven)]
            except StorageUnavailable as exc:
                failed = NotDone(StorageUnavailable, str(exc), _sdk_error(exc))
                break
            left = {number: left[number] for number, failure in failures.items() if _is_temporary(failure)}
            for number in failures.keys() - left.keys():
                outcomes[number] = _outcome(operation, _code(failures[number]["Code"]), forgiven)
            if not left:
                return outcomes
            if pause_s is not None:
                await self._calls.rest(pause_s)
        return [failed if number in left else outcome for number, outcome in enumerate(outcomes)]

    async def _one_by_one(
        self, operation: str, entries: Sequence[Entry], *, forgiven: frozenset[str]
    ) -> Sequence[NotDone | None]:
        alone = [self._outcomes(operation, [entry], forgiven=forgiven) for entry in entries]
        return [outcome for (outcome,) in await asyncio.gather(*alone)]

    async def _failures(self, operation: str, entries: Mapping[int, Entry]) -> Mapping[int, Mapping[str, Any]]:
        """Return what SQS says about the entries that it did not do, by their number."""
        numbered = [{"Id": str(number), **entry} for number, entry in entries.items()]
        answer = await self._calls.run(operation, partial(self._send, operation, numbered))
        return {int(failure["Id"]): failure for failure in answer.get("Failed", ())}

    def _send(self, operation: str, entries: Sequence[Entry]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._clients.sqs, operation)(QueueUrl=self._url, Entries=entries)
        except ClientError as exc:
            if (code := _code(code_of(exc))) in _WRONG:
                raise _WrongRequest(code) from exc
            raise
        return answer


def _outcome(operation: str, code: str, forgiven: frozenset[str]) -> NotDone | None:
    if code in forgiven:
        return None
    kind = ValueError if code in _WRONG else StorageUnavailable
    return NotDone(kind, f"SQS did not do an entry of {operation}: {code}")


def _is_temporary(failure: Mapping[str, Any]) -> bool:
    return not failure.get("SenderFault") or "Throttl" in failure["Code"]


def _code(code: str) -> str:
    """Return a code without the prefix that SQS's older protocol gives it (``AWS.SimpleQueueService.``)."""
    return code.rpartition(".")[2]


def _sdk_error(error: StorageUnavailable) -> Exception | None:
    """Return what ``Calls`` translated, so that each caller's error has the same cause."""
    return error.__cause__ if isinstance(error.__cause__, Exception) else None
