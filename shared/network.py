"""What Edgepost asks of the network: one Protocol for each way, beside the ports that carry state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MXHost:
    """One mail exchanger from the DNS (RFC 5321 §5.1); ``name`` without final dot."""

    preference: int
    name: str


class Resolver(Protocol):
    """DNS look-ups; answers are cached for as long as their TTL allows.

    Raises, every method: ``LookupFailed`` (shared.domain.dns) when the DNS gave no
    answer (timeout, SERVFAIL): not knowing is temporary.
    """

    async def mx(self, domain: str) -> Sequence[MXHost] | None:
        """Return the MX set in any order; empty if none; None if the domain does not exist.

        A null MX (RFC 7505) is one host with an empty name.
        """
        ...

    async def addresses(self, host: str, *, ipv6: bool = True) -> Sequence[str]:
        """Return the host's A and, if wanted, AAAA addresses; empty if it has none."""
        ...

    async def txt(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name, the strings of each joined; empty if none."""
        ...

    def txt_at_hand(self, name: str) -> Sequence[str] | None:
        """Return what ``txt`` would without asking anybody; None if somebody would have to be asked.  Never raises."""
        ...

    async def cname(self, name: str) -> str | None:
        """Return what the name itself is an alias of, without final dot, or None."""
        ...

    async def pointer(self, address: str) -> str | None:
        """Return the PTR name of an address without final dot, or None."""
        ...


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """What became of a request to somebody else's server."""

    status: int
    """0 if there was no answer."""

    took: timedelta
    error: str = ""
    """Why there was none, as a general sentence: nothing of what an inner address said."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; of several equal ones the last."""

    body: bytes = b""
    """At most ``MAX_ANSWER_BYTES``, as it came (not decompressed)."""


MAX_ANSWER_BYTES = 65_536


class HTTPOut(Protocol):
    """Requests to addresses that customers choose: guarded, bounded in time and size."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float | None = None
    ) -> HTTPAnswer:
        """Send one POST and return the answer; redirects are answers, and nothing is raised.

        Twice: sent twice.

        Args:
            url: where to.
            headers: of the request.
            body: of the request.
            timeout_s: how long it may take in all; None: as long as is usual.
        """
        ...

    async def close(self) -> None:
        """Close what is kept open.  Twice: nothing more."""
        ...
