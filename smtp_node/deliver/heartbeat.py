"""The heartbeat of a node: one for all jobs in hand, also through the ten minutes after a final dot."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.errors import Unavailable
from shared.flow.claim import CLOCK_SKEW, LEASE, Claimed
from shared.ports import Queue
from smtp_node.deliver.attempt import Attempts

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0


@dataclass(slots=True)
class InHand:
    """A job this node works on, and how long its claim holds."""

    pool: str
    queue: Queue
    receipt: str
    started: bool = False
    """Whether it may have been claimed; before that it can simply be given back."""

    claimed: Claimed | None = None
    lease_ends: float = 0.0
    """On the monotonic clock."""

    lost: bool = False

    def still_ours(self) -> bool:
        """Whether nobody else can have claimed the message by now."""
        return not self.lost and time.monotonic() < self.lease_ends


def relied_on_until() -> float:
    """Return until when a lease taken now is relied on; another node's clock may be ahead of ours."""
    return time.monotonic() + (LEASE - CLOCK_SKEW).total_seconds()


async def keep_alive(in_hand: Callable[[], Sequence[InHand]], queues: Mapping[str, Queue], attempts: Attempts) -> None:
    """Every ten seconds, keep all jobs in hand hidden and all claims ours."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        hands = in_hand()
        for queue in queues.values():
            receipts = [hand.receipt for hand in hands if hand.queue is queue]
            try:
                await queue.extend(receipts, LEASE)
            except Unavailable:
                log.warning("heartbeat_failed", exc_info=True)
        await asyncio.gather(*(_extend(hand, attempts) for hand in hands if hand.claimed and not hand.lost))


async def _extend(hand: InHand, attempts: Attempts) -> None:
    claimed = hand.claimed
    if claimed is None:
        return
    ends = relied_on_until()
    try:
        until = attempts.clock() + LEASE
        kept = await attempts.settling.messages.extend_lease(claimed.tenant.server, claimed.message, until)
    except Unavailable:
        log.warning("heartbeat_failed", exc_info=True, extra={"message_id": claimed.message.id})
        return
    if kept:
        hand.lease_ends = ends
    else:
        hand.lost = True
