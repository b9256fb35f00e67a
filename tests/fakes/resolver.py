"""A resolver over a dictionary."""

from collections.abc import Mapping, Sequence

from shared.domain.dns import LookupFailed
from shared.network import MXHost


class FakeResolver:
    """``Resolver`` that knows what it is told; ``failing`` names raise ``LookupFailed``.

    A domain without an entry in ``mx`` exists and has no MX, unless it is in ``missing``.
    """

    def __init__(
        self,
        *,
        mx: Mapping[str, Sequence[tuple[int, str]]] | None = None,
        addresses: Mapping[str, Sequence[str]] | None = None,
        txt: Mapping[str, Sequence[str]] | None = None,
        cname: Mapping[str, str] | None = None,
        pointers: Mapping[str, str] | None = None,
        missing: Sequence[str] = (),
        failing: Sequence[str] = (),
    ) -> None:
        self._mx = dict(mx or {})
        self._addresses = dict(addresses or {})
        self._txt = dict(txt or {})
        self._cname = dict(cname or {})
        self._pointers = dict(pointers or {})
        self._missing = set(missing)
        self._failing = set(failing)
        self.asked: list[tuple[str, str]] = []
        self.kept: set[str] = set()
        """Names whose TXT records are at hand."""

    def _ask(self, kind: str, name: str) -> None:
        self.asked.append((kind, name))
        if name in self._failing:
            raise LookupFailed(name)

    async def mx(self, domain: str) -> Sequence[MXHost] | None:
        """Return what was told, or None for a missing domain."""
        self._ask("mx", domain)
        if domain in self._missing:
            return None
        return [MXHost(preference, name) for preference, name in self._mx.get(domain, ())]

    async def addresses(self, host: str, *, ipv6: bool = True) -> Sequence[str]:
        """Return what was told."""
        self._ask("addresses", host)
        return [address for address in self._addresses.get(host, ()) if ipv6 or ":" not in address]

    async def txt(self, name: str) -> Sequence[str]:
        """Return what was told."""
        self._ask("txt", name)
        return self._txt.get(name, ())

    def txt_at_hand(self, name: str) -> Sequence[str] | None:
        """Return what was told, for names that are kept."""
        return self._txt.get(name, ()) if name in self.kept else None

    async def cname(self, name: str) -> str | None:
        """Return what was told."""
        self._ask("cname", name)
        return self._cname.get(name)

    async def pointer(self, address: str) -> str | None:
        """Return what was told."""
        self._ask("pointer", address)
        return self._pointers.get(address)
