"""The delivery worker: takes jobs from the queues of its pools, and stops without losing any."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.errors import Unavailable
from shared.flow.claim import LEASE
from shared.ports import Put, Queue
from shared.store.keys import health_key
from smtp_node.deliver.heartbeat import InHand, keep_alive
from smtp_node.deliver.jobs import STORAGE_PAUSES_S, Jobs

log = logging.getLogger(__name__)

BATCH = 10
LONG_POLL = timedelta(seconds=20)
BUSY = 100
"""Jobs waiting in lines above which new ones are taken slowly: most would be sent away again."""

BUSY_PAUSE_S = 0.03

PROBE_KEY = health_key("deliver")


@dataclass(slots=True)
class Worker:
    """Works until it is told to stop.

    Args:
        queues: the work queues of this node's pools.
        jobs: works on one job.
        most: jobs in hand at once.
    """

    queues: Mapping[str, Queue]
    jobs: Jobs
    most: int
    _in_hand: dict[asyncio.Task[None], InHand] = field(default_factory=dict)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event, *, drain: timedelta = timedelta(seconds=25)) -> None:
        """Work until ``stop`` is set; then finish what is in hand, for at most ``drain``.

        What is not finished by then is abandoned: its lease ends by itself and
        another node takes it.

        Raises:
            Exception: whatever ended the heartbeat or the taking of jobs; without
                them the node must not go on.
        """
        heartbeat = asyncio.create_task(keep_alive(self._hands, self.queues, self.jobs.attempts))
        takers = [asyncio.create_task(self._take(pool, queue)) for pool, queue in self.queues.items()]
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait((stopping, heartbeat, *takers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)
            await self._give_back_unstarted()
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=drain.total_seconds())
            await _cancel(list(self._in_hand))
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)
            await self.jobs.attempts.sender.close()
        for task in ended - {stopping}:
            task.result()

    async def _give_back_unstarted(self) -> None:
        """Let another node have at once what this one has not begun."""
        waiting = {task: hand for task, hand in self._in_hand.items() if not hand.started}
        await _cancel(list(waiting))
        for queue in self.queues.values():
            receipts = [hand.receipt for hand in waiting.values() if hand.queue is queue]
            try:
                await queue.extend(receipts, timedelta(0))
            except Unavailable:
                log.warning("give_back_failed", exc_info=True)

    async def _take(self, pool: str, queue: Queue) -> None:
        """Take jobs as long as there is room, one queue each."""
        failures = 0
        while True:
            await self._room()
            await self.jobs.storage.until_well(self._probe)
            limit = min(BATCH, self.most - len(self._in_hand))
            try:
                received = await queue.receive(limit, wait=LONG_POLL, visibility=LEASE)
                failures = 0
            except Unavailable:
                log.warning("queue_receive_failed", exc_info=True)
                await asyncio.sleep(STORAGE_PAUSES_S[min(failures, len(STORAGE_PAUSES_S) - 1)])
                failures += 1
                continue
            for each in received:
                hand = InHand(pool, queue, each.receipt)
                task = asyncio.create_task(self.jobs.work(each, hand))
                self._in_hand[task] = hand
                task.add_done_callback(self._finished)

    async def _probe(self) -> None:
        """Use records and bodies as a job does."""
        attempts = self.jobs.attempts
        stores = attempts.settling.stores
        await stores.records.put(Put(PROBE_KEY, {"at": int(attempts.clock().timestamp())}))
        await stores.records.get(PROBE_KEY)
        # There is none: a store that is away cannot tell.
        await stores.bodies.get(f"{PROBE_KEY.partition}/{PROBE_KEY.sort}")

    async def _room(self) -> None:
        if self.jobs.destinations.waiting >= BUSY:
            await asyncio.sleep(BUSY_PAUSE_S)
        while len(self._in_hand) >= self.most:
            self._freed.clear()
            await self._freed.wait()

    def _hands(self) -> Sequence[InHand]:
        return list(self._in_hand.values())

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_hand.pop(task, None)
        self._freed.set()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
