"""Claim: one node alone may make an attempt, and a dead node's work comes back.

=====================================  =======================================
what the job finds                     what becomes of the job
=====================================  =======================================
free message, same attempt             ``Claimed``: the attempt may be made
lease of another node                  hidden until that lease ends
held, released this moment             hidden for a few seconds
no record (accept is not done, or      tried again for five minutes, then
died before it answered)               dropped: nothing was promised
attempt already settled                settling is completed, the job deleted
=====================================  =======================================
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from shared.domain.job import Job
from shared.domain.message import Message
from shared.domain.tenancy import Tenant
from shared.store.directory import Directory
from shared.store.messages import Messages

LEASE = timedelta(seconds=30)
"""How long a claim holds; also the visibility of its job on the queue."""

MAX_CLAIMS = 5
"""Claims that may be abandoned before a message counts as poison."""

RECORD_MAY_COME = timedelta(minutes=5)
LOOK_AGAIN = timedelta(seconds=2)


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
    """Somebody else has it, or it is not there yet: hide the job for this long."""

    wait: timedelta
    missing: bool = False
    """There is no record so far: it may come within milliseconds."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The attempt has ended before: complete what follows it, then delete the job."""

    tenant: Tenant
    message: Message


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nothing was promised, or its server is gone: delete the job."""


Claim: TypeAlias = Claimed | Later | Settled | Dropped


async def claim(job: Job, *, sent_at: datetime, directory: Directory, messages: Messages, now: datetime) -> Claim:
    """Try to take the job's message for one attempt.

    Args:
        job: what the queue delivered.
        sent_at: when it was put on the queue.
        directory: knows the tenant.
        messages: holds the message.
        now: the lease counts from here.
    """
    tenant = await directory.tenant(job.server_id)
    if tenant is not None:
        message = await messages.claim(
            tenant.server, job.message_id, attempt=job.attempt, now=now, lease_until=now + LEASE
        )
        if message is not None:
            return Claimed(tenant, message)
        message = await messages.get(tenant.server, job.message_id)
        if message is not None:
            return _not_free(tenant, message, job, now)
    if now - sent_at > RECORD_MAY_COME:
        return Dropped()
    return Later(LOOK_AGAIN, missing=True)


def _not_free(tenant: Tenant, message: Message, job: Job, now: datetime) -> Claim:
    if message.attempt > job.attempt:
        return Settled(tenant, message)
    if message.lease_until is not None and message.lease_until > now:
        return Later(message.lease_until - now)
    return Later(LOOK_AGAIN)
