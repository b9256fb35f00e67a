"""Names of clients' addresses in the DNS, for Received fields only."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address

from shared.domain.dns import LookupFailed
from shared.network import Resolver

PATIENCE = timedelta(seconds=1)
REMEMBERED = timedelta(minutes=10)
MOST_REMEMBERED = 10_000

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\Z")


class ReverseNames:
    """Looks names up once and remembers them, failures too, for ten minutes.

    A name here is decoration: no decision may rest on it, because whoever owns
    the address can write anything there.
    """

    def __init__(self, resolver: Resolver, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self._resolver = resolver
        self._ticks = ticks
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def of(self, address: str) -> str:
        """Return the name of an address, or an empty string; waits a second at most."""
        known = self._known.get(address)
        if known and self._ticks() < known[0]:
            return known[1]
        name = "" if ip_address(address).is_loopback else await self._look_up(address)
        self._known[address] = (self._ticks() + REMEMBERED.total_seconds(), name)
        self._known.move_to_end(address)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return name

    async def _look_up(self, address: str) -> str:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                name = await self._resolver.pointer(address)
        except (LookupFailed, TimeoutError):
            return ""
        # It will stand in a header: anything but a host name is left out.
        return name if name and _NAME.match(name) else ""
