"""One receive from SQS, which can be abandoned but not called back.

What an abandoned receive still brings goes back to the queue at once, in the thread that it came
in: also when the event loop has ended and the process is about to.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.aws.session import Clients
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS

log = logging.getLogger(__name__)

# Any: requests and answers are the JSON of SQS's API reference.
Message = Mapping[str, Any]


class Poll:
    """A receive that is made once.

    Args:
        clients: whose.
        threads: where it waits.
        url: of the queue.
        limit: most messages.
        wait_s: longest time until there is one.
        visibility_s: how long they stay hidden.
    """

    def __init__(
        self, clients: Clients, threads: Threads, url: str, *, limit: int, wait_s: int, visibility_s: int
    ) -> None:
        self._clients = clients
        self._threads = threads
        self._url = url
        self._limit = limit
        self._wait_s = wait_s
        self._visibility_s = visibility_s
        self._deciding = threading.Lock()
        self._abandoned = False
        self._taken: Sequence[Message] = ()

    async def messages(self) -> Sequence[Message]:
        """Return what was received.  Cancelled: nothing stays taken.

        Raises:
            SDKError: the call failed.
        """
        try:
            return await asyncio.wrap_future(self._threads.poll(self._receive))
        except asyncio.CancelledError:
            with self._deciding:
                self._abandoned = True
                too_late = bool(self._taken)
            if too_late:
                # It had been received, but nobody had heard of it yet.
                self._threads.start(self._give_back)
            raise

    def _receive(self) -> Sequence[Message]:
        answer = self._clients.sqs_polls.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._limit,
            WaitTimeSeconds=self._wait_s,
            VisibilityTimeout=self._visibility_s,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        with self._deciding:
            self._taken = answer.get("Messages", ())
            abandoned = self._abandoned
        if abandoned and self._taken:
            self._give_back()
        return self._taken

    def _give_back(self) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, message in enumerate(self._taken)
        ]
        try:
            self._clients.sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except SDK_ERRORS:
            # They come back when their visibility ends.
            log.warning("give_back_failed", exc_info=True)
