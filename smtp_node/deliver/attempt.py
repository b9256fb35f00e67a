"""One attempt: decide, do, decide.

``make`` decides whether the claimed message may go out now, composes what goes
on the wire, sends it, and returns what became of it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from shared.domain.addresses import domain_of
from shared.domain.errors import InvalidValue, MalformedMessage, StorageUnavailable
from shared.domain.holding import hold_reason
from shared.domain.inspection import Ruling
from shared.domain.job import Job, ToHost, ToInbound, ToMX
from shared.domain.message import Direction, Evidence, Message
from shared.domain.outcome import HardFail, Held, Outcome, Postponed, SoftFail
from shared.domain.simulator import LATER, simulate
from shared.domain.tenancy import Domain
from shared.domain.tracking import base_url, tracking_of
from shared.flow.claim import Claimed
from shared.flow.settle import Settling
from shared.flow.token_keys import TokenSource
from shared.ports import Clock, Outgoing
from shared.room import Room
from shared.settings import SmartHost
from shared.store.directory import Directory
from shared.store.suppressions import Suppressions
from shared.tokens import Named, Tokens
from smtp_node.authentication.keys import SigningKeys
from smtp_node.deliver.compose import Composed, compose, return_path
from smtp_node.deliver.forward import plan_forward
from smtp_node.deliver.inspecting import inspect
from smtp_node.deliver.send import Plan, Sender
from smtp_node.deliver.tracking.rewrite import Marking
from smtp_node.deliver.unsubscribing import Unsubscribing, feedback_id
from smtp_node.scan.scanning import Scanning

log = logging.getLogger(__name__)

BODY_GONE = "Raw message has been removed. Cannot send message."
"""Postal's words (app/lib/message_dequeuer/single_message_processor.rb)."""

BODY_UNREADABLE = "The stored message could not be read for now."
KEY_UNUSABLE = "The DKIM key of the domain could not be opened."
OWN_FAULT = "4.3.0"
"""Enhanced code of failures that say nothing of the destination (RFC 3463 §3.4)."""

OFF_LOOP_BYTES = 262_144
"""Larger messages are signed in a thread: 20 MB take an eighth of a second."""

NO_ROOM = "Too many large messages were being delivered at once."
LARGE_BYTES = OFF_LOOP_BYTES
"""Larger messages need room; the others never wait."""

ROOM_BYTES = 128 * 1024 * 1024
"""Of all large messages that a node has in memory.  While links are rewritten one is there twice."""

ROOM_WAIT_S = 5.0
MOST_IN_LINE = 8
"""Who waits has a turn at its destination, so few do, and not for long: the others are postponed."""

NO_ROOM_WAIT = timedelta(seconds=10)

MARKED_OFF_LOOP_BYTES = 65_536
"""The same for messages with tracked links, which take longer."""


def room_for_bodies() -> Room:
    """Return the room of one node for large messages."""
    return Room(ROOM_BYTES, wait_s=ROOM_WAIT_S, most_waiting=MOST_IN_LINE)


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one attempt ended in."""

    outcome: Outcome
    ruling: Ruling | None = None
    """What the scanners said of the message, if they were asked in this attempt."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts; shared by all jobs of a node.

    Args:
        settling: stores and settings.
        directory: tenancy as it is now.
        keys: signing keys of all domains.
        tokens: sign tracked links.
        sender: puts mail on the wire.
        clock: the time.
        rng: chooses the source address.
        sources: (source address, EHLO name) pairs of this node; empty: the system chooses.
        smart_hosts: relay by IP pool.
        room: for large messages.
        scanning: asks scanners about outgoing mail.
    """

    settling: Settling
    directory: Directory
    keys: SigningKeys
    tokens: TokenSource
    sender: Sender
    clock: Clock
    rng: random.Random
    sources: Sequence[tuple[str, str]]
    smart_hosts: Mapping[str, SmartHost]
    room: Room = field(default_factory=room_for_bodies)
    scanning: Scanning = field(default_factory=Scanning)

    async def make(self, claimed: Claimed, job: Job, *, pool: str, still_ours: Callable[[], bool]) -> Attempted:
        """Make the attempt and return what became of it.

        A storage that does not answer costs an attempt, not the message: without an
        outcome the claim would count as abandoned, and five of them as poison.
        """
        try:
            return await self._make(claimed, job, pool, still_ours)
        except StorageUnavailable:
            log.exception("message_unreadable", extra={"message_id": claimed.message.id})
            return Attempted(SoftFail(BODY_UNREADABLE, evidence=Evidence(enhanced_code=OWN_FAULT)))

    async def _make(self, claimed: Claimed, job: Job, pool: str, still_ours: Callable[[], bool]) -> Attempted:
        message, tenant = claimed.message, claimed.tenant
        if message.direction is Direction.INCOMING:
            return await self._with_room(message, lambda: self._forward(claimed, job, pool, still_ours))
        domain = await self.directory.domain(message.domain, tenant.server)
        credential = None
        if message.credential_id is not None:
            credential = await self.directory.credential(message.server_id, message.credential_id)
        suppression = None
        if not message.released:
            suppressions = Suppressions(self.settling.stores.records)
            holding = await suppressions.holding(tenant, message.tag, [message.rcpt_to], self.clock())
            suppression = holding.get(message.rcpt_to)
        reason = hold_reason(message, tenant, credential, domain, suppression)
        if reason is not None or domain is None:
            return Attempted(Held(reason or ""))
        return await self._with_room(message, lambda: self._carry_out(claimed, job, domain, pool, still_ours))

    async def _with_room(self, message: Message, work: Callable[[], Awaitable[Attempted]]) -> Attempted:
        """Do the work once there is room in memory for the message; else it is postponed."""
        if message.size_bytes <= LARGE_BYTES:
            return await work()
        owner = str(message.server_id)
        if not await self.room.enter(owner, message.size_bytes):
            wait = NO_ROOM_WAIT * (1 + self.rng.random()) / self.settling.settings.time_factor
            return Attempted(Postponed(self.clock() + wait, NO_ROOM))
        try:
            return await work()
        finally:
            self.room.leave(owner, message.size_bytes)

    async def _carry_out(
        self, claimed: Claimed, job: Job, domain: Domain, pool: str, still_ours: Callable[[], bool]
    ) -> Attempted:
        message = claimed.message
        tokens = await self._tokens(message)
        token = tokens.return_path(Named(message.server_id, message.id)) if tokens else ""
        mail_from = return_path(
            message, claimed.tenant.server, domain, token, shared_domain=self.settling.settings.return_path_domain
        )
        try:
            composed = await self._compose(claimed, domain, tokens, token, mail_from)
        except MalformedMessage as exc:
            return Attempted(HardFail(f"The message cannot be signed: {exc}."))
        except InvalidValue:
            log.exception("signing_key_unusable", extra={"domain": domain.name, "server_id": message.server_id})
            return Attempted(SoftFail(KEY_UNUSABLE, evidence=Evidence(enhanced_code=OWN_FAULT)))
        if composed is None:
            return Attempted(HardFail(BODY_GONE))
        ruling = await inspect(claimed, composed, self.scanning)
        if ruling is not None and ruling.failure:
            return Attempted(HardFail(ruling.failure, ruling.inspection.summary()), ruling)
        if message.test_mode:
            return Attempted(await self._simulate(claimed), ruling)
        plan = self._plan(claimed, job, pool, composed, mail_from)
        return Attempted(await self.sender.send(plan, still_ours=still_ours), ruling)

    async def _forward(self, claimed: Claimed, job: Job, pool: str, still_ours: Callable[[], bool]) -> Attempted:
        """Pass incoming mail on to where its route says."""
        source, ehlo = self._source(job)
        plan = await plan_forward(
            claimed,
            settling=self.settling,
            directory=self.directory,
            keys=self.keys,
            tokens=self.tokens,
            ehlo=ehlo,
            source_address=source or None,
            at=self.clock(),
        )
        if not isinstance(plan, Plan):
            return Attempted(plan)
        plan = replace(plan, smart_host=self.smart_host(pool))
        return Attempted(await self.sender.send(plan, still_ours=still_ours))

    async def _simulate(self, claimed: Claimed) -> Outcome:
        """Make up what would become of the message: nothing leaves this machine."""
        made = simulate(claimed.message, self.clock())
        # They have the ids of their attempt, so an attempt that is made again tells nothing twice.
        group, delay = str(claimed.message.server_id), LATER / self.settling.settings.time_factor
        following = [Outgoing(each.to_json(), group=group, delay=delay) for each in made.following]
        if following:
            await self.settling.stores.events.send(following)
        return made.outcome

    async def _compose(
        self, claimed: Claimed, domain: Domain, tokens: Tokens | None, token: str, mail_from: str
    ) -> Composed | None:
        """Return what goes on the wire; None if the body is gone."""
        body = await self.settling.stores.bodies.get(claimed.message.body_key)
        if body is None:
            return None
        marking, unsubscribing = await self._marked(claimed, tokens, mail_from)
        work = partial(
            compose,
            claimed.message,
            claimed.tenant.server,
            body,
            self.keys.of(domain),
            marking=marking,
            report_token=token,
            unsubscribing=unsubscribing,
            hostname=self.settling.settings.hostname,
            at=self.clock(),
        )
        most = MARKED_OFF_LOOP_BYTES if marking else OFF_LOOP_BYTES
        return await asyncio.to_thread(work) if len(body) > most else work()

    async def _tokens(self, message: Message) -> Tokens | None:
        """Return what signs tokens; None if that cannot be had now: mail never waits for it."""
        if message.bounce or message.direction is Direction.INCOMING:
            return None  # machines read bounces, and what comes in is somebody else's mail
        try:
            return await self.tokens.tokens()
        except (InvalidValue, StorageUnavailable):
            log.exception("tokens_unavailable", extra={"message_id": message.id, "server_id": message.server_id})
            return None

    async def _marked(
        self, claimed: Claimed, tokens: Tokens | None, mail_from: str
    ) -> tuple[Marking | None, Unsubscribing | None]:
        """Return how the message is tracked, None if it is not, and how its recipient could unsubscribe."""
        if tokens is None:
            return None, None
        message, tenant, settings = claimed.message, claimed.tenant, self.settling.settings
        tracking = tracking_of(
            await self.directory.tracking(tenant.server),
            sending_domain=message.domain,
            shared_host=settings.track_domain if tenant.server.shared_tracking else "",
            opens=message.track_opens,
            clicks=message.track_clicks,
        )
        named = Named(message.server_id, message.id)
        url = base_url(tracking.host, settings.public_url) if tracking.host else ""
        stream = feedback_id(message.tag, tenant.server.permalink, tenant.organization.permalink)
        unsubscribing = Unsubscribing(tokens, named, tracking.host, url, mail_from, stream)
        return Marking(tracking, url, tokens, named) if tracking else None, unsubscribing

    def _plan(self, claimed: Claimed, job: Job, pool: str, composed: Composed, mail_from: str) -> Plan:
        message = claimed.message
        source, ehlo = self._source(job)
        # The message decides: two accepts that drew the same id in the same millisecond leave a job
        # with the domain of a message that got another id.
        target = job.target if isinstance(job.target, ToHost) else ToMX(domain_of(message.rcpt_to))
        return Plan(
            mail_from=mail_from,
            rcpt_to=message.rcpt_to,
            raw=composed.raw,
            target=target,
            ehlo=ehlo,
            added=composed.added,
            envelope_id=composed.report_token,
            source_address=source or None,
            smart_host=self.smart_host(pool),
        )

    def _source(self, job: Job) -> tuple[str, str]:
        """Return the source address and its EHLO name: the preferred one if it is ours."""
        if not self.sources:
            return "", self.settling.settings.hostname
        preferred = [pair for pair in self.sources if pair[0] == job.prefer_ip]
        return preferred[0] if preferred else self.rng.choice(self.sources)

    def smart_host(self, pool: str) -> SmartHost | None:
        """Return the relay that takes the pool's mail, if there is one."""
        return self.smart_hosts.get(pool, self.settling.settings.smart_host)

    def destination(self, job: Job, pool: str) -> str:
        """Return the name under which the job's destination is counted and limited."""
        match job.target:
            case ToMX(domain):
                relay = self.smart_host(pool)
                return domain if relay is None else f"{relay.host}:{relay.port}"
            case ToHost(name, port):
                return f"{name}:{port}"
            case ToInbound():
                raise InvalidValue("this job is for the inbound function")
