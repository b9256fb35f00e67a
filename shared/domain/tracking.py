"""Tracking domains: under whose name pixels and links are served, and which mail gets them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from shared.domain.addresses import domain_name
from shared.domain.dns_check import DNSStatus
from shared.domain.errors import InvalidValue
from shared.domain.ids import ServerId
from shared.domain.tracking_check import TrackCheck

MAX_EXCLUDED = 100
"""Excluded domains of one tracking domain: they are read with every message."""

PATHS = {"open": "/o/", "click": "/c/", "unsubscribe": "/u/"}
"""Where each kind of token is served, on every tracking domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDomain:
    """A host name of a customer that points to us; its name is unique in the installation."""

    name: str
    """Lower case, IDNs as A-labels."""

    server_id: ServerId
    created_at: datetime
    sending_domain: str = ""
    """Only mail of this domain uses it; empty: all mail of the server."""

    verified_at: datetime | None = None
    """Links carry the name, and requests for it are served, only once this is set."""

    trusted: bool = False
    """Verified by an admin's word, without the DNS."""

    clicks: bool = True
    opens: bool = True
    """Each the default for messages that do not say themselves."""

    excluded: Sequence[str] = ()
    """Hosts whose links stay as they are: ``example.com`` that host alone, ``*.example.com`` all below it."""

    check: TrackCheck | None = None
    """The last look at its record since it was verified."""

    check_due: datetime | None = None
    """When it is looked at next."""

    @property
    def usable(self) -> bool:
        """Whether new mail may carry the name: verified, and not known to lead elsewhere or nowhere by now."""
        if self.verified_at is None:
            return False
        return self.trusted or self.check is None or self.check.status is DNSStatus.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What is done to one message; the default is nothing."""

    host: str = ""
    opens: bool = False
    clicks: bool = False
    excluded: frozenset[str] = field(default_factory=frozenset)

    def __bool__(self) -> bool:
        """Tell whether anything is tracked."""
        return self.opens or self.clicks


def tracking_of(
    domains: Sequence[TrackDomain],
    *,
    sending_domain: str,
    shared_host: str,
    opens: bool | None,
    clicks: bool | None,
) -> Tracking:
    """Return how a message is tracked.

    A usable tracking domain for the message's sending domain comes first, then one
    that lies below it, then any other of the server, then the installation's own.

    Args:
        domains: the server's, verified or not.
        sending_domain: which signs the message.
        shared_host: the installation's own tracking domain; empty where the server may not use it.
        opens: the message's own switch; None leaves it to the tracking domain.
        clicks: the same for links.
    """
    usable = [each for each in domains if each.usable and each.sending_domain in ("", sending_domain)]
    usable.sort(key=lambda each: (not each.sending_domain, not each.name.endswith(f".{sending_domain}"), each.name))
    if usable:
        found = usable[0]
        return Tracking(
            host=found.name,
            opens=found.opens if opens is None else opens,
            clicks=found.clicks if clicks is None else clicks,
            excluded=frozenset(found.excluded),
        )
    if shared_host:
        return Tracking(host=shared_host, opens=opens is not False, clicks=clicks is not False)
    return Tracking()


def is_excluded(host: str, excluded: frozenset[str]) -> bool:
    """Tell whether links to a host stay as they are; the host is in lower case and may carry a port."""
    if not excluded:
        return False
    bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    above = bare.split(".")
    wildcards = {f"*.{'.'.join(above[at:])}" for at in range(1, len(above))}
    return host in excluded or bare in excluded or not wildcards.isdisjoint(excluded)


def checked_excluded(names: Sequence[str]) -> Sequence[str]:
    """Return excluded domains in the form in which they are compared.

    Raises:
        InvalidValue: one is no domain, or there are too many.
    """
    if len(names) > MAX_EXCLUDED:
        raise InvalidValue(f"a tracking domain may exclude {MAX_EXCLUDED} domains at most")
    found: list[str] = []
    for name in names:
        bare, colon, port = name.strip().partition(":")
        star = "*." if bare.startswith("*.") else ""
        if colon and not (port.isdigit() and len(port) <= 5):
            raise InvalidValue("an excluded domain may end in a port, such as example.com:8080")
        found.append(f"{star}{domain_name(bare.removeprefix('*.'))}{colon}{port}")
    return tuple(dict.fromkeys(found))


def base_url(host: str, public_url: str) -> str:
    """Return where links of a tracking host begin: scheme and port are those of the public URL."""
    public = urlsplit(public_url)
    return f"{public.scheme}://{host}" + (f":{public.port}" if public.port else "")


def host_of(public_url: str) -> str:
    """Return the host name of the public URL."""
    return (urlsplit(public_url).hostname or "").lower()
