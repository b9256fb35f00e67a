"""Which host names serve links and pixels, told apart by the Host header of one HTTP port.

| host | serves |
| --- | --- |
| of the public URL, this machine's names and addresses | the API; tokens too if it is the track domain as well |
| the installation's track domain, verified tracking domains | tokens, nothing else |
| any other | the API |
"""

import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from shared.domain.errors import StorageUnavailable
from shared.domain.tracking import PATHS, host_of
from shared.settings import Settings
from shared.store.track_domains import TrackDomains

SEEN_WITHIN_S = 5.0
MOST_KEPT = 10_000
"""Host names in memory, those that are none of ours too; the oldest make room."""

PREFIXES = tuple(PATHS.values())


class TrackingHosts:
    """Knows tracking hosts, with a short memory.

    Args:
        domains: of all servers.
        settings: this installation's own names.
        is_ours: whether a path is a token that we made for that host: what decides while the storage is away.
        monotonic: seconds.
    """

    def __init__(
        self,
        domains: TrackDomains,
        settings: Settings,
        *,
        is_ours: Callable[[str, str], Awaitable[bool]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._domains = domains
        self._shared = settings.track_domain
        self._own = {host_of(settings.public_url), settings.hostname, "localhost", ""}
        self._is_ours = is_ours
        self._monotonic = monotonic
        self._kept: dict[str, tuple[bool, float]] = {}

    async def serves(self, host: str, path: str) -> bool:
        """Tell whether a request is for the tracking functions."""
        if host in self._own or _is_address(host):
            return host == self._shared and path.startswith(PREFIXES)
        try:
            return await self.is_known(host)
        except StorageUnavailable:
            kept = self._kept.get(host)
            return kept[0] if kept is not None else path.startswith(PREFIXES) and await self._is_ours(host, path)

    async def is_known(self, host: str) -> bool:
        """Tell whether a name is a verified tracking domain or the installation's own.

        Raises:
            StorageUnavailable: not known.
        """
        if host == self._shared:
            return True
        kept, now = self._kept.get(host), self._monotonic()
        if kept is not None and now - kept[1] < SEEN_WITHIN_S:
            return kept[0]
        found = await self._domains.by_host(host)
        self._kept.pop(host, None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[host] = (found is not None and found.verified_at is not None, now)
        return self._kept[host][0]

    async def may_have_certificate(self, name: str) -> bool:
        """Tell whether the reverse proxy may get a certificate for a name.

        Raises:
            StorageUnavailable: not known.
        """
        return bool(name) and (name in self._own or await self.is_known(name))


def host_name(header: str) -> str:
    """Return the name in a Host header: lower case, without port and final dot."""
    return header.lower().partition(":")[0].rstrip(".") if not header.startswith("[") else header


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]").partition("]")[0])
    except ValueError:
        return False
    return True
