"""Who may connect, try a key, or hold memory: counters with a bound of their own."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address

from shared.settings import Network

MAX_THROTTLED_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Client:
    """The peer of a connection."""

    address: str
    """IPv4 addresses that came mapped into IPv6 are plain IPv4 here."""

    network: str
    """What limits count by: the address, or the /64 network of an IPv6 address."""

    loopback: bool


def client_at(host: str) -> Client:
    """Return the client behind the host part of a socket's peer name."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if (mapped := address.ipv4_mapped) is not None:
            return client_at(str(mapped))
        # One customer's whole network is usually a /64 (RFC 6177 §2): one address of it is worth nothing.
        network = str(IPv6Address(int(address) >> 64 << 64)) + "/64"
        return Client(str(address), network, address.is_loopback)
    return Client(str(address), str(address), address.is_loopback)


def client_behind_proxy(address: str) -> Client:
    """Return the client that a proxy names; never as one on this machine, whatever address that is."""
    return replace(client_at(address), loopback=False)


def is_in(client: Client, networks: Sequence[Network]) -> bool:
    """Whether the client's address is in one of the networks."""
    address = ip_address(client.address)
    return any(address.version == network.version and address in network for network in networks)


class ConnectionGate:
    """Counts the connections that are open, in all and by client."""

    def __init__(self, *, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._open: Counter[str] = Counter()
        self.count = 0

    def refusal(self, client: Client) -> str:
        """Return which limit one more connection would break: ``total``, ``client`` or none."""
        if self.count >= self._total:
            return "total"
        if not client.loopback and self._open[client.network] >= self._per_client:
            return "client"
        return ""

    def enter(self, client: Client) -> None:
        """Count a connection; each ``enter`` needs one ``leave``."""
        self.count += 1
        self._open[client.network] += 1

    def leave(self, client: Client) -> None:
        """Count a connection out."""
        self.count -= 1
        self._open[client.network] -= 1
        if self._open[client.network] <= 0:
            del self._open[client.network]


class Throttle:
    """Remembers failures by client, for one window of time after the first.

    It slows down and shuts nobody out: one broken script must not lock out its
    neighbours behind the same address.
    """

    def __init__(self, *, after: int, window_s: float, most: int = MAX_THROTTLED_CLIENTS) -> None:
        self._after = after
        self._window_s = window_s
        self._most = most
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, client: Client, now: float) -> None:
        """Count one failure; ``now`` is any monotonic time in seconds."""
        since, count = self._failed.pop(client.network, (now, 0))
        if now - since >= self._window_s:
            since, count = now, 0
        self._failed[client.network] = (since, count + 1)
        if len(self._failed) > self._most:
            self._failed.popitem(last=False)

    def is_throttled(self, client: Client, now: float) -> bool:
        """Whether the client has failed too often within the window."""
        since, count = self._failed.get(client.network, (now, 0))
        return count >= self._after and now - since < self._window_s

    def __len__(self) -> int:
        return len(self._failed)


class MemoryBudget:
    """Bytes that all incoming messages together may hold."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Reserve bytes; False, and nothing reserved, if they are not there."""
        if self.held_bytes + size_bytes > self._limit_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Return bytes that were reserved."""
        self.held_bytes -= size_bytes
