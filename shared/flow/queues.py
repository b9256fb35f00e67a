"""Which queue takes which work: mail that a node carries, by IP pool, and what the inbound function does."""

import hashlib

from shared.domain.addresses import domain_of
from shared.domain.errors import StorageUnavailable
from shared.domain.job import Job, Target, ToHost, ToInbound, ToMX
from shared.domain.message import Direction, Message
from shared.domain.routes import AddressTarget, HTTPTarget, SMTPTarget
from shared.domain.tenancy import Server
from shared.ports import Queue, Stores


def work_queue(stores: Stores, pool: str) -> Queue:
    """Return the work queue of an IP pool.

    Raises:
        StorageUnavailable: this process was started without that pool.
    """
    if pool not in stores.work:
        raise StorageUnavailable(f"there is no work queue for the IP pool {pool}")
    return stores.work[pool]


def next_job(message: Message, prefer_ip: str = "") -> Job:
    """Return the job of the message's next attempt."""
    incoming = message.direction is Direction.INCOMING
    return Job(message.server_id, message.id, message.attempt, target_of(message), prefer_ip, incoming=incoming)


def target_of(message: Message) -> Target | ToInbound:
    """Return where a message is to be taken: its recipient's hosts, or what its route says."""
    if message.direction is Direction.OUTGOING:
        return ToMX(domain_of(message.rcpt_to))
    match message.endpoint:
        case SMTPTarget(host, port, tls):
            return ToHost(host, port, tls)
        case AddressTarget(address):
            return ToMX(domain_of(address))
        case HTTPTarget(url):
            return ToInbound(hashlib.sha256(f"{message.server_id} {url}".encode()).hexdigest()[:16])
        case None:
            return ToInbound()


def queue_of(stores: Stores, server: Server, message: Message) -> Queue:
    """Return the queue on which the message's jobs travel.

    Raises:
        StorageUnavailable: this process was started without the server's pool.
    """
    return stores.inbound if isinstance(target_of(message), ToInbound) else work_queue(stores, server.ip_pool)


def group_of(job: Job) -> str:
    """Return the fairness group: servers take turns, and on the inbound queue their endpoints do."""
    lane = job.target.lane if isinstance(job.target, ToInbound) else ""
    return f"{job.server_id}.{lane}" if lane else str(job.server_id)
