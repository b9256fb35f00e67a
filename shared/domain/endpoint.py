"""Webhook endpoints: where a customer wants to be told what became of his mail, and in what form."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind
from shared.domain.event_names import Dialect, event_name
from shared.domain.ids import EndpointId, ServerId
from shared.domain.networks import may_reach
from shared.settings import Network

MAX_ENDPOINTS = 20
"""Of one server: each event is sent to all of them."""

MAX_URL = 2000
MAX_HEADERS = 10
MAX_HEADER_VALUE = 1000

NOT_HTTP_PORTS = frozenset(
    {20, 21, 22, 23, 25, 53, 110, 111, 119, 135, 139, 143, 389, 445, 465, 512, 513, 514, 515, 587, 636, 993, 995}
    | {1433, 1521, 2049, 3306, 3389, 5432, 6000, 6379, 6566, 6667, 6697, 9200, 11211, 27017}
)
"""Mail, shells and databases: a POST to one of them is an attack (WHATWG Fetch §2.9, "bad port", and databases)."""

OPENED_BY = "the operator may open private networks with EDGEPOST_ALLOW_NETWORKS"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")  # RFC 9110 §5.6.2: token
_OUR_HEADERS = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive"),
        *("proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)
_OUR_PREFIXES = ("webhook-", "x-edgepost-", "x-postal-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of a server; what is secret about it is wrapped by the master key."""

    id: EndpointId
    server_id: ServerId
    url: str
    dialect: Dialect
    kinds: frozenset[EventKind]
    """Which events it is told of; empty: all that its dialect has."""

    enabled: bool
    created_at: datetime
    secret: str = field(repr=False)
    """Wrapped; ``whsec_…`` inside."""

    previous_secret: str = field(default="", repr=False)
    """The one before the last rotation, wrapped; signs too until ``previous_until``."""

    previous_until: datetime | None = None
    headers: str = field(default="", repr=False)
    """Further headers, wrapped: they may hold credentials; a JSON object inside."""

    header_names: Sequence[str] = ()
    failing_since: datetime | None = None
    """When the first delivery failed since the last one that succeeded."""

    paused_until: datetime | None = None
    """No delivery is tried before: the breaker is open."""

    pauses: int = 0
    """How often in a row the breaker has opened."""

    disabled_reason: str = ""

    def wants(self, kind: EventKind) -> bool:
        """Whether it is to be told of events of this kind."""
        return self.enabled and event_name(kind, self.dialect) is not None and (not self.kinds or kind in self.kinds)


def secret_context(endpoint_id: EndpointId) -> str:
    """Return the context under which an endpoint's secrets are wrapped."""
    return f"webhook:{endpoint_id}"


def checked_url(text: str, allowed: Sequence[Network]) -> str:
    """Return the URL of an endpoint.

    What can be judged without the DNS is refused here; the address that is
    connected to is judged again each time (attacks: rebinding, redirects).

    Args:
        text: as somebody typed it.
        allowed: private networks that HTTP may reach.

    Raises:
        InvalidValue: not an http or https URL, or one that leads inside.
    """
    url = text.strip()
    if not 0 < len(url) <= MAX_URL:
        raise InvalidValue(f"a URL has 1 to {MAX_URL} characters")
    if any(char.isspace() or unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in url) or "\\" in url:
        raise InvalidValue("the URL contains a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidValue("this is not a URL") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidValue("the URL must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise InvalidValue("the URL must not hold a user name or password; use a header such as Authorization")
    if parts.fragment or url.endswith("#"):
        raise InvalidValue("the URL must not have a fragment: it would never be sent")
    if port == 0 or port in NOT_HTTP_PORTS:
        raise InvalidValue(f"port {port} is not for HTTP")
    _check_host(parts, allowed)
    return url


def _check_host(parts: SplitResult, allowed: Sequence[Network]) -> None:
    # Full-width and circled digits are digits to some resolvers, and an ideographic full stop is a dot (UTS 46 §4).
    host = unicodedata.normalize("NFKC", parts.hostname or "").replace("\u3002", ".").rstrip(".").lower()
    last = host.rpartition(".")[2]
    if ":" in host or last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        # WHATWG URL §3.5: a host that ends in a number is an IPv4 address; only its plain form is taken.
        if not may_reach(host, allowed):
            raise InvalidValue(f"the URL leads to an address that may not be reached; {OPENED_BY}")
    elif last == "localhost" and not (may_reach("127.0.0.1", allowed) or may_reach("::1", allowed)):
        raise InvalidValue(f"the URL leads to this machine, which may not be reached; {OPENED_BY}")
    elif not host or any(not label or len(label) > 63 for label in host.split(".")) or len(host) > 253:
        raise InvalidValue("the URL's host is not a name")


def checked_headers(given: Sequence[str]) -> Mapping[str, str]:
    """Return further headers of an endpoint, given as ``Name: value``.

    Raises:
        InvalidValue: malformed, too many, or one that we write ourselves.
    """
    found: dict[str, str] = {}
    for each in given:
        name, colon, value = each.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _HEADER_NAME.match(name):
            raise InvalidValue("a header has the form Name: value")
        if name.lower() in _OUR_HEADERS or name.lower().startswith(_OUR_PREFIXES):
            raise InvalidValue(f"the header {name} cannot be set: it is written with each request")
        if not (value.isascii() and value.isprintable()) or len(value) > MAX_HEADER_VALUE:
            raise InvalidValue(f"the value of the header {name} must be one line of printable ASCII")
        if name.lower() in {known.lower() for known in found}:
            raise InvalidValue(f"the header {name} is given twice")
        found[name] = value
    if len(found) > MAX_HEADERS:
        raise InvalidValue(f"an endpoint may have at most {MAX_HEADERS} headers")
    return found
