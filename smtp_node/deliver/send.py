"""One attempt at one message: route, hosts in order, one outcome.

A host that cannot be reached or refuses for now leads to the next one.  A verdict on
the message and everything after its body ends the attempt: another host would say
the same, or deliver it twice.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.domain.errors import InvalidValue
from shared.domain.message import Evidence
from shared.domain.outcome import HardFail, Outcome, SoftFail
from shared.network import Resolver
from smtp_node.deliver.connection import Connection, NotReady, Peer
from smtp_node.deliver.conversation import Conversation
from smtp_node.deliver.letter import Letter, letter
from smtp_node.deliver.plan import Plan
from smtp_node.deliver.pool import Pool
from smtp_node.deliver.protocol import Broken
from smtp_node.deliver.route import Hop, RouteRules, find_route
from smtp_node.deliver.transaction import transact
from smtp_node.deliver.verdict import Try, Unavailable, conclude, ends_attempt, is_stale

__all__ = ["Plan", "Sender"]


class Sender:
    """Carries out plans; one, shared by all workers of a node.

    Args:
        resolver: asked for MX hosts and addresses.
        pool: where connections come from.
        rules: port, address families and networks.
        rng: spreads load over hosts of equal preference.
        now: the time, for an attempt that is handed back.
    """

    def __init__(
        self,
        *,
        resolver: Resolver,
        pool: Pool,
        rules: RouteRules,
        rng: random.Random,
        now: Callable[[], datetime],
    ) -> None:
        self._resolver = resolver
        self._pool = pool
        self._rules = rules
        self._rng = rng
        self._now = now

    async def send(self, plan: Plan, *, still_ours: Callable[[], bool]) -> Outcome:
        """Make the attempt and return what became of it; failures are values, not exceptions.

        Args:
            plan: what to send, and where.
            still_ours: whether the claim still holds; asked after 354, before each block of the body.
        """
        try:
            checked = letter(plan.mail_from, plan.rcpt_to, plan.raw, added=plan.added, envelope_id=plan.envelope_id)
        except InvalidValue as exc:
            return HardFail(f"The message cannot be sent: {exc}.", evidence=Evidence(enhanced_code="5.1.3"))
        route = await find_route(
            plan.destination,
            resolver=self._resolver,
            rules=self._rules,
            rng=self._rng,
            source_address=plan.source_address,
            trusted=plan.via_smart_host,
        )
        if isinstance(route, SoftFail | HardFail):
            return route
        conversation = Conversation()
        tried = await self._try_in_order(route, plan, checked, conversation, still_ours)
        return conclude(
            tried,
            rcpt_to=checked.rcpt_to,
            destination=plan.destination_name,
            conversation=str(conversation),
            now=self._now(),
        )

    async def close(self) -> None:
        """Say QUIT on every connection that is not in use."""
        await self._pool.close()

    async def _try_in_order(
        self,
        route: Sequence[Hop],
        plan: Plan,
        checked: Letter,
        conversation: Conversation,
        still_ours: Callable[[], bool],
    ) -> Sequence[Try]:
        tried: list[Try] = []
        for hop in route:
            tried.append(await self._try(plan.peer(hop), checked, conversation, still_ours))
            if ends_attempt(tried[-1].ended):
                break
        return tried

    async def _try(
        self, peer: Peer, checked: Letter, conversation: Conversation, still_ours: Callable[[], bool]
    ) -> Try:
        """Try one host; a kept connection that turns out to be stale is replaced once."""
        kept = self._pool.reuse(peer, conversation)
        if kept is not None:
            tried = await self._transact(peer, kept, checked, still_ours)
            if isinstance(tried.ended, Unavailable) or not is_stale(tried.ended):
                return tried
            conversation.note("the kept connection is of no use; connecting again")
        try:
            fresh = await self._pool.open(peer, conversation)
        except Broken as exc:
            return Try(peer, Unavailable(exc.reason), peer.source_address or "")
        except NotReady as exc:
            return Try(peer, Unavailable(exc.sentence, exc.reply), peer.source_address or "")
        return await self._transact(peer, fresh, checked, still_ours)

    async def _transact(
        self, peer: Peer, connection: Connection, checked: Letter, still_ours: Callable[[], bool]
    ) -> Try:
        source_address, tls = connection.source_address, connection.tls
        try:
            ended = await transact(connection, checked, self._pool.timeouts, still_ours=still_ours)
        except BaseException:
            # Also when we are cancelled: a transaction cut in two must not be taken up by the next message.
            connection.abort()
            raise
        self._pool.give_back(connection)
        return Try(peer, ended, source_address, tls)
