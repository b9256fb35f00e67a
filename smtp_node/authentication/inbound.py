"""All checks of one incoming mail: SPF, DKIM, ARC, DMARC, and the field that states them.

pyspf blocks and hashes take time, so all of it runs in a thread; what is asked of the DNS
comes back to the node's resolver.  A small mail whose senders are known from a moment ago
needs neither, and two changes of threads would cost more than its checks: that is tried first.
A mail is never refused for want of an answer: what could not be found out is stated as such.
"""

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.domain.errors import MalformedMessage
from shared.domain.headers import Head, is_head_short, split_head
from shared.network import Resolver
from smtp_node.authentication.chain import check_chain
from smtp_node.authentication.digests import Digests
from smtp_node.authentication.dmarc import check_dmarc
from smtp_node.authentication.lookups import BUDGET_S, Lookups, LookupsAtHand, LookupsFromThread, NotAtHand
from smtp_node.authentication.results import ARCResult, Results, SPFResult, Verdict, without_forged
from smtp_node.authentication.spf import check_spf
from smtp_node.authentication.verify import check_signatures

log = logging.getLogger(__name__)

THREADS = 8
"""Mails checked at once in one node; most of their time they wait for the DNS."""

MAX_CHECKED_BYTES = 26_214_400
"""Larger mail is taken unchecked: canonical forms are copies of it."""

AT_ONCE_BYTES = 131_072
"""Smaller mail is checked on the event loop if its head is short and nobody has to be asked."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where a mail came from, as far as the session knows."""

    address: str
    """Of the client."""

    helo: str
    mail_from: str
    """Empty for bounces."""


class Authentication:
    """Checks mail for one node.

    Args:
        resolver: answers all questions.
        authserv_id: our name in Authentication-Results (RFC 8601 §2.5).
        budget_s: how long the look-ups for one mail may take.
    """

    def __init__(self, resolver: Resolver, authserv_id: str, *, budget_s: float = BUDGET_S) -> None:
        self._resolver = resolver
        self.authserv_id = authserv_id
        self._budget_s = budget_s
        # Threads of its own: mail whose look-ups are slow on purpose must not take those that sign and parse.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="authentication")

    async def check(self, raw: bytes, envelope: Envelope) -> Results:
        """Return what the checks found; never fails because of the mail."""
        return (await self._looked_at(raw, envelope))[0]

    async def stated(self, raw: bytes, envelope: Envelope) -> tuple[bytes, bytes, Results]:
        """Return our Authentication-Results field, the mail without forged ones to put it on, and what was found.

        The mail is the very same bytes if nothing was forged: it may be large.

        Raises:
            MalformedMessage: the head cannot be split.
        """
        results, clean = await self._looked_at(raw, envelope)
        if clean is None:
            raise MalformedMessage("the head cannot be split")
        return results.to_field(self.authserv_id), clean, results

    async def _looked_at(self, raw: bytes, envelope: Envelope) -> tuple[Results, bytes | None]:
        """Return what was found, and the mail without forged fields; None in its place if its head cannot be split."""
        if len(raw) <= AT_ONCE_BYTES and is_head_short(raw):
            with contextlib.suppress(NotAtHand):
                return self._look_at(raw, envelope, LookupsAtHand(self._resolver))
        loop = asyncio.get_running_loop()
        # The budget runs while the mail waits for a thread: under a flood all wait shortly and are stated unknown.
        lookups = LookupsFromThread(self._resolver, loop, budget_s=self._budget_s)
        return await loop.run_in_executor(self._threads, self._look_at, raw, envelope, lookups)

    def _look_at(self, raw: bytes, envelope: Envelope, lookups: Lookups) -> tuple[Results, bytes | None]:
        try:
            head = split_head(raw)
        except MalformedMessage:
            return Results(spf=_spf(envelope, lookups)), None
        return _check(raw, head, envelope, lookups), without_forged(raw, head, self.authserv_id)


def _check(raw: bytes, head: Head, envelope: Envelope, lookups: Lookups) -> Results:
    spf = _spf(envelope, lookups)
    if len(raw) > MAX_CHECKED_BYTES:
        log.info("mail_too_large_to_check", extra={"size_bytes": len(raw)})
        return Results(spf, dmarc=check_dmarc(head, spf, (), lookups), arc=ARCResult(Verdict.NONE))
    digests = Digests(raw, head)
    signatures = check_signatures(head, digests, lookups)
    dmarc = check_dmarc(head, spf, signatures, lookups)
    return Results(spf, signatures, dmarc, check_chain(head, digests, lookups))


def _spf(envelope: Envelope, lookups: Lookups) -> SPFResult:
    return check_spf(envelope.address, envelope.helo, envelope.mail_from, lookups)
