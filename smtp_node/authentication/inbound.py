"""All checks of one incoming mail: SPF, DKIM, ARC, DMARC, and the field that states them.

pyspf blocks and hashes take time, so all of it runs in a thread; what is asked of the DNS
comes back to the node's resolver.  A mail is never refused for want of an answer: what could
not be found out is stated as such.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.domain.errors import MalformedMessage
from shared.domain.headers import split_head
from shared.network import Resolver
from smtp_node.authentication.chain import check_chain
from smtp_node.authentication.digests import Digests
from smtp_node.authentication.dmarc import check_dmarc
from smtp_node.authentication.lookups import BUDGET_S, Lookups
from smtp_node.authentication.results import ARCResult, Results, SPFResult, Verdict, without_forged
from smtp_node.authentication.spf import check_spf
from smtp_node.authentication.verify import check_signatures

log = logging.getLogger(__name__)

THREADS = 8
"""Mails checked at once in one node; most of their time they wait for the DNS."""

MAX_CHECKED_BYTES = 26_214_400
"""Larger mail is taken unchecked: canonical forms are copies of it."""


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
        loop = asyncio.get_running_loop()
        # The budget runs while the mail waits for a thread: under a flood all wait shortly and are stated unknown.
        lookups = Lookups(self._resolver, loop, budget_s=self._budget_s)
        return await loop.run_in_executor(self._threads, _check, raw, envelope, lookups)

    async def stated(self, raw: bytes, envelope: Envelope) -> tuple[bytes, bytes, Results]:
        """Return our Authentication-Results field, the mail without forged ones to put it on, and what was found.

        The mail is the very same bytes if nothing was forged: it may be large.

        Raises:
            MalformedMessage: the head cannot be split.
        """
        results = await self.check(raw, envelope)
        return results.to_field(self.authserv_id), without_forged(raw, split_head(raw), self.authserv_id), results


def _check(raw: bytes, envelope: Envelope, lookups: Lookups) -> Results:
    try:
        head = split_head(raw)
    except MalformedMessage:
        return Results(spf=_spf(envelope, lookups))
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
