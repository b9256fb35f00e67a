"""The DNS for libraries that ask for it in the middle of their work.

They run in a thread, and each question goes to the node's own resolver on the event
loop; or on the loop itself, as long as all answers are at hand.  A mail may cost so many
questions and so much time, whatever it asks for.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from shared.domain.dns import LookupFailed
from shared.network import Resolver

T = TypeVar("T")

MAX_LOOKUPS = 60
"""For one mail, all checks together: ten for SPF with what they lead to, a key for each signature and seal."""

BUDGET_S = 10.0
"""For one mail, all look-ups together (RFC 7208 §4.6.4 asks for at least 20 s; a client waits for us)."""


MAX_TEXT_AT_HAND = 1024
"""Characters of one name's TXT records that are read on the event loop: what they cost is their owner's choice."""


class Lookups(Protocol):
    """Blocking look-ups for one mail; all raise ``LookupFailed``."""

    def txt(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name."""
        ...

    def addresses(self, name: str, *, ipv6: bool) -> Sequence[str]:
        """Return the addresses of one family."""
        ...

    def mx(self, name: str) -> Sequence[tuple[int, str]]:
        """Return the MX set as (preference, host)."""
        ...

    def pointer(self, address: str) -> Sequence[str]:
        """Return the name of an address, or none."""
        ...


class NotAtHand(Exception):
    """Somebody has to be asked."""


class LookupsAtHand:
    """Look-ups that never wait: what the resolver does not know already, or is no short text, raises ``NotAtHand``."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._left = MAX_LOOKUPS

    def txt(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name."""
        found = self._resolver.txt_at_hand(name)
        self._left -= 1
        if found is None or self._left < 0 or sum(map(len, found)) > MAX_TEXT_AT_HAND:
            raise NotAtHand(name, "TXT")
        return found

    def addresses(self, name: str, *, ipv6: bool) -> Sequence[str]:
        """Never at hand."""
        raise NotAtHand(name, "AAAA" if ipv6 else "A")

    def mx(self, name: str) -> Sequence[tuple[int, str]]:
        """Never at hand."""
        raise NotAtHand(name, "MX")

    def pointer(self, address: str) -> Sequence[str]:
        """Never at hand."""
        raise NotAtHand(address, "PTR")


class LookupsFromThread:
    """Look-ups for one mail from a thread, never on the loop itself."""

    def __init__(self, resolver: Resolver, loop: asyncio.AbstractEventLoop, *, budget_s: float = BUDGET_S) -> None:
        self._resolver = resolver
        self._loop = loop
        self._until = time.monotonic() + budget_s
        self._left = MAX_LOOKUPS

    def txt(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name."""
        return self._wait(self._resolver.txt(name))

    def addresses(self, name: str, *, ipv6: bool) -> Sequence[str]:
        """Return the addresses of one family."""
        found = self._wait(self._resolver.addresses(name, ipv6=ipv6))
        return [each for each in found if (":" in each) is ipv6]

    def mx(self, name: str) -> Sequence[tuple[int, str]]:
        """Return the MX set as (preference, host)."""
        return [(each.preference, each.name) for each in self._wait(self._resolver.mx(name)) or ()]

    def pointer(self, address: str) -> Sequence[str]:
        """Return the name of an address, or none."""
        name = self._wait(self._resolver.pointer(address))
        return [name] if name else []

    # Any: what a coroutine sends and yields is asyncio's own business.
    def _wait(self, question: Coroutine[Any, Any, T]) -> T:
        self._left -= 1
        left_s = self._until - time.monotonic()
        if self._left < 0 or left_s <= 0:
            question.close()
            raise LookupFailed("the mail asks for too many look-ups, or they take too long")
        answer = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return answer.result(left_s)
        except TimeoutError as exc:
            answer.cancel()
            raise LookupFailed("the look-ups for one mail took too long") from exc
