"""A queue on SQS: a standard queue, with ``MessageGroupId`` for fairness ("fair queues", SQS developer guide)."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from shared.adapters.aws.calls import Calls
from shared.adapters.aws.coalescing import Coalescer
from shared.adapters.aws.session import LONG_POLL_S, Clients
from shared.adapters.aws.sqs_batches import Entry, SQSBatches
from shared.adapters.aws.sqs_poll import Message, Poll
from shared.domain.moments import from_ms
from shared.ports import MAX_DELAY, Depth, Outgoing, Received

MAX_BODY_BYTES = 262_144
MAX_RECEIVED = 10

_RECEIPT_CHARACTERS = 1024
_AGAIN_S = 0.05
"""Before an empty answer that came early is asked for again."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How long small requests wait for others to share a call with."""

    send_s: float = 0.005
    """A sender waits for it, so it is short."""

    settle_s: float = 0.05
    """Deleting and extending: nobody waits but the worker, which has many messages in hand."""


class SQSQueue:
    """``Queue`` on SQS; see ``shared.ports`` for what each method promises.

    How often a message is received at most, and where it goes then, is the queue's own redrive policy.
    """

    def __init__(self, clients: Clients, calls: Calls, url: str, *, windows: Windows) -> None:
        """Use the queue with this URL; nothing is asked from it yet."""
        self._clients = clients
        self._calls = calls
        self._url = url
        batches = SQSBatches(clients, calls, url)
        self._sends = Coalescer[Entry](batches.send, _size, windows.send_s)
        self._hides = Coalescer[Entry](batches.hide, _size, windows.settle_s)
        self._deletes = Coalescer[Entry](batches.delete, _size, windows.settle_s)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Put messages on the queue, ten in one request, with those of other senders.

        Raises:
            ValueError: a body or a delay is over its limit; nothing was sent.
        """
        await self._sends.add([_entry(message) for message in messages])

    async def receive(self, limit: int, *, wait: timedelta, visibility: timedelta) -> Sequence[Received]:
        """Take up to ``limit`` (1-10) messages; waits up to ``wait``, in whole seconds, for the first."""
        if not 1 <= limit <= MAX_RECEIVED:
            raise ValueError(f"a receive takes 1 to {MAX_RECEIVED} messages, not {limit}")
        ends = time.monotonic() + wait.total_seconds()
        while True:
            left = timedelta(seconds=max(0.0, ends - time.monotonic()))
            poll = partial(self._poll, limit, min(LONG_POLL_S, _seconds(left)), _seconds(visibility))
            taken = await self._calls.attempt("ReceiveMessage", poll)
            if taken or time.monotonic() >= ends:
                return taken
            await asyncio.sleep(_AGAIN_S)

    async def _poll(self, limit: int, wait_s: int, visibility_s: int) -> Sequence[Received]:
        poll = Poll(
            self._clients, self._calls.threads, self._url, limit=limit, wait_s=wait_s, visibility_s=visibility_s
        )
        return [_received(message) for message in await poll.messages()]

    async def extend(self, receipts: Sequence[str], visibility: timedelta) -> None:
        """Set how long from now the messages stay hidden, rounded up to whole seconds; 0 returns them at once."""
        seconds = _seconds(visibility)
        await self._hides.add([{**entry, "VisibilityTimeout": seconds} for entry in _receipts(receipts)])

    async def delete(self, receipts: Sequence[str]) -> None:
        """Remove messages; SQS decides which receipt is outdated."""
        await self._deletes.add(_receipts(receipts))

    async def depth(self) -> Depth:
        """Count what lies on the queue, as far as SQS knows; two requests."""
        counted = await self._attributes(self._url)
        redrive = json.loads(counted.get("RedrivePolicy", "{}"))
        dead = await self._attributes(self._dead_url(redrive["deadLetterTargetArn"])) if redrive else {}
        return Depth(
            ready=_count(counted, "ApproximateNumberOfMessages"),
            delayed=_count(counted, "ApproximateNumberOfMessagesDelayed"),
            in_flight=_count(counted, "ApproximateNumberOfMessagesNotVisible"),
            dead=_count(dead, "ApproximateNumberOfMessages"),
        )

    async def _attributes(self, url: str) -> dict[str, str]:
        answer = await self._calls.run(
            "GetQueueAttributes",
            lambda: self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
        )
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def _dead_url(self, arn: str) -> str:
        """Return the URL of the dead letter queue, which lies beside this one."""
        return f"{self._url.rpartition('/')[0]}/{arn.rpartition(':')[2]}"


def _entry(message: Outgoing) -> Entry:
    size_bytes = len(message.body.encode())
    if size_bytes > MAX_BODY_BYTES:
        raise ValueError(f"a queue message has at most {MAX_BODY_BYTES} bytes, not {size_bytes}")
    if not timedelta(0) <= message.delay <= MAX_DELAY:
        raise ValueError(f"a queue delays by at most {MAX_DELAY}, not {message.delay}")
    entry: Entry = {"MessageBody": message.body}
    if message.delay:
        entry["DelaySeconds"] = _seconds(message.delay)
    if message.group:
        entry["MessageGroupId"] = message.group
    return entry


def _receipts(receipts: Sequence[str]) -> list[Entry]:
    """Return entries for what can be a receipt; SQS refuses a whole request for one that is empty."""
    return [{"ReceiptHandle": each} for each in receipts if 0 < len(each) <= _RECEIPT_CHARACTERS]


def _received(message: Message) -> Received:
    attributes = message["Attributes"]
    return Received(
        body=message["Body"],
        receipt=message["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
        sent_at=from_ms(int(attributes["SentTimestamp"])),
    )


def _size(entry: Entry) -> int:
    body: str = entry.get("MessageBody", "")
    return len(body.encode())


def _seconds(span: timedelta) -> int:
    """Return the span in whole seconds, rounded up: nothing comes early."""
    return -(-span // timedelta(seconds=1))


def _count(attributes: dict[str, str], name: str) -> int:
    return int(attributes.get(name, 0))
