"""Claim: one node alone may make an attempt, and a dead node's work comes back.

=====================================  =======================================
what the job finds                     what becomes of the job
=====================================  =======================================
free message, same attempt             ``Claimed``: the attempt may be made
lease of another node                  hidden until that lease ends
attempt already settled                settling is completed, the job deleted
no record (accept is not done, or      looked at again for five minutes, then
died before it answered)               dropped: nothing was promised
held (a release or cancel is not       the same; then dropped: the message can
done, or died on the way)              be released or cancelled again
=====================================  =======================================
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from shared.domain.job import Job
from shared.domain.message import Direction, Message
from shared.domain.tenancy import Tenant
from shared.store.directory import Directory
from shared.store.messages import Messages

LEASE = timedelta(seconds=30)
"""How long a claim holds; also the visibility of its job on the queue."""

MAX_CLAIMS = 5
"""Claims that may be abandoned before a message counts as poison."""

CLOCK_SKEW = timedelta(seconds=5)
"""Clocks of two nodes may differ by this: so much before its end a lease is no longer relied on."""

RECORD_MAY_COME = timedelta(minutes=5)
LOOK_AGAIN = timedelta(seconds=2)
LOOKS_GROW = 1.35
MAX_LOOKS = 14
"""``LOOK_AGAIN`` growing by ``LOOKS_GROW`` takes five minutes: far fewer receives than make a dead letter."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The attempt is ours until the lease ends."""

    tenant: Tenant
    message: Message

    @property
    def abandoned(self) -> bool:
        """Whether an earlier claim of this attempt was never settled."""
        return self.message.claims > 1

    @property
    def poison(self) -> bool:
        """Whether so many nodes have died over it that no further one should try."""
        return self.message.claims > MAX_CLAIMS


@dataclass(frozen=True, slots=True)
class Later:
    """Somebody else has it, or it is not ready yet: hide the job for this long."""

    wait: timedelta
    soon: bool = False
    """A record is being written just now: it may come within milliseconds."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The attempt has ended before: complete what follows it, then delete the job."""

    tenant: Tenant
    message: Message


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nothing was promised, or it is still held, or its server is gone: delete the job."""


Claim: TypeAlias = Claimed | Later | Settled | Dropped


async def claim(
    job: Job, *, sent_at: datetime, receives: int, directory: Directory, messages: Messages, now: datetime
) -> Claim:
    """Try to take the job's message for one attempt.

    Args:
        job: what the queue delivered.
        sent_at: when it was put on the queue.
        receives: how often the queue has delivered it.
        directory: knows the tenant.
        messages: holds the message.
        now: the lease counts from here.
    """
    tenant = await directory.tenant(job.server_id)
    if tenant is not None:
        message = await messages.claim(
            tenant.server,
            job.message_id,
            attempt=job.attempt,
            now=now,
            lease_until=now + LEASE,
            direction=Direction.INCOMING if job.incoming else Direction.OUTGOING,
        )
        if message is not None:
            return Claimed(tenant, message)
        message = await messages.get(tenant.server, job.message_id)
        if message is not None:
            if message.attempt > job.attempt:
                return Settled(tenant, message)
            if message.lease_until is not None and message.lease_until > now:
                return Later(message.lease_until - now)
    return _look_again(receives, now - sent_at)


def _look_again(receives: int, age: timedelta) -> Claim:
    """Wait longer each time; both counts must agree before a job is dropped.

    The looks, because this node's clock may be wrong; the age, because nodes that
    were killed count as looks too.
    """
    if receives > MAX_LOOKS and age > RECORD_MAY_COME:
        return Dropped()
    return Later(LOOK_AGAIN * LOOKS_GROW ** (min(receives, MAX_LOOKS) - 1), soon=True)
