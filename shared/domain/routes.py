"""Routes: where mail to an address of a tenant's domain goes (Postal: app/models/route.rb).

A route has a name at a verified domain; ``*`` takes what no other route of the domain
takes, and ``name+tag`` is ``name``'s with the tag kept.  ``__returnpath__`` has no
domain: it takes what came to the server's return path and is no bounce.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from shared.domain.addresses import checked, domain_name
from shared.domain.errors import InvalidValue
from shared.domain.ids import ServerId
from shared.domain.job import TLSMode

WILDCARD = "*"
RETURN_PATH = "__returnpath__"
TOKEN_LENGTH = 8
"""Of a route's forward address, ``<token>@<route domain>``; small letters, because hosts fold case."""

MAX_TARGETS = 10

TIMEOUT_S = 30
TIMEOUTS_S = range(5, 61)
"""What an HTTP endpoint may be given, as in Postal (app/models/http_endpoint.rb), whose own default is 5 s."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?\Z")


class RouteMode(StrEnum):
    """What a route does with mail, in Postal's words."""

    ENDPOINT = "Endpoint"
    ACCEPT = "Accept"
    """Take it and do nothing further."""

    HOLD = "Hold"
    BOUNCE = "Bounce"
    """Take it and send a report of failure."""

    REJECT = "Reject"
    """Refuse it in the session."""


class SpamMode(StrEnum):
    """What becomes of spam."""

    MARK = "Mark"
    QUARANTINE = "Quarantine"
    FAIL = "Fail"


class Encoding(StrEnum):
    """How a payload travels, in Postal's words."""

    JSON = "BodyAsJSON"
    FORM = "FormData"


class PayloadFormat(StrEnum):
    """What a payload holds, in Postal's words."""

    HASH = "Hash"
    """The fields, texts and files of the mail."""

    RAW = "RawMessage"
    """The mail itself, in base64."""


@dataclass(frozen=True, slots=True)
class HTTPTarget:
    """A URL that is told of each mail (Postal: app/models/http_endpoint.rb)."""

    url: str
    encoding: Encoding = Encoding.JSON
    format: PayloadFormat = PayloadFormat.HASH
    attachments: bool = True
    """Whether the hash has the attached files."""

    strip_replies: bool = False
    """Whether what a reply quotes is taken from the text and given apart."""

    timeout_s: int = TIMEOUT_S
    """How long it may take to answer, connecting included."""


@dataclass(frozen=True, slots=True)
class SMTPTarget:
    """A host that takes each mail, without MX."""

    host: str
    port: int = 25
    tls: TLSMode = TLSMode.STARTTLS


@dataclass(frozen=True, slots=True)
class AddressTarget:
    """Another address that each mail is forwarded to."""

    address: str


Target: TypeAlias = HTTPTarget | SMTPTarget | AddressTarget


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a server."""

    server_id: ServerId
    name: str
    domain: str
    """Empty for the return path's route."""

    token: str
    mode: RouteMode
    created_at: datetime
    spam_mode: SpamMode = SpamMode.MARK
    targets: Sequence[Target] = ()
    """In the order in which they were given; only with ``Endpoint``."""

    secret: str = field(default="", repr=False)
    """Signs what HTTP endpoints get; wrapped with ``secret_context``."""

    previous_secret: str = field(default="", repr=False)
    """The one before the last rotation, wrapped; signs too until ``previous_until``."""

    previous_until: datetime | None = None
    logins: str = field(default="", repr=False)
    """Users and passwords for HTTP endpoints, wrapped: a JSON object, ``user:password`` by URL."""

    version: int = 0
    """Goes up with each change of mode, endpoints or their options: of two at once, one is refused."""

    @property
    def address(self) -> str:
        """The address it stands for; without a domain, its name."""
        return f"{self.name}@{self.domain}" if self.domain else self.name


def secret_context(route: Route) -> str:
    """Return what a route's secret is wrapped for: it opens nowhere else."""
    return f"route:{route.server_id}:{route.address}"


def current_target(route: Route, endpoint: Target | None) -> Target | None:
    """Return the route's target that a message was meant for, with its options as they are now; None if it is gone.

    The same URL, host or address is the same target: a changed option must not fail what waits.
    """
    if endpoint in route.targets:
        return endpoint
    return next((each for each in route.targets if endpoint is not None and _place(each) == _place(endpoint)), None)


def _place(target: Target) -> tuple[object, ...]:
    match target:
        case HTTPTarget(url):
            return (url,)
        case SMTPTarget(host, port):
            return host, port
        case AddressTarget(address):
            return (address,)


def split_local(local: str) -> tuple[str, str]:
    """Return the name that a local part asks for, in lower case, and its tag, as written."""
    name, _, tag = local.partition("+")
    return name.lower(), tag


def names_for(address: str) -> tuple[str, Sequence[str]]:
    """Return the domain of a checked address and the names of routes that may take it, best first."""
    local, _, domain = address.rpartition("@")
    name, _ = split_local(local)
    return domain, (name, WILDCARD) if _NAME.match(name) else (WILDCARD,)


def checked_route(text: str) -> tuple[str, str]:
    """Return name and domain of ``NAME@DOMAIN``, or the return path's name and no domain.

    Raises:
        InvalidValue: another form, or a name that no route may have.
    """
    if text == RETURN_PATH:
        return RETURN_PATH, ""
    name, at, domain = text.strip().rpartition("@")
    name = name.lower()
    if not at or (name != WILDCARD and not _NAME.match(name)):
        raise InvalidValue(
            f"a route is NAME@DOMAIN; the name has small letters, digits, dots and hyphens, or is {WILDCARD}"
        )
    return name, domain_name(domain)


def checked_targets(name: str, mode: RouteMode, targets: Sequence[Target]) -> Sequence[Target]:
    """Return the targets if a route of that name and mode may have them, as Postal's rules say.

    Raises:
        InvalidValue: none with ``Endpoint``, some with another mode, too many, or others than HTTP where only
            these may stand.
    """
    if mode is RouteMode.ENDPOINT and not targets:
        raise InvalidValue("a route needs an endpoint (a URL, a host or an address), or another mode than Endpoint")
    if mode is not RouteMode.ENDPOINT and targets:
        raise InvalidValue(f"a route with mode {mode.value} has no endpoints")
    if len(targets) > MAX_TARGETS:
        raise InvalidValue(f"a route has at most {MAX_TARGETS} endpoints")
    if any(isinstance(each, HTTPTarget) and each.timeout_s not in TIMEOUTS_S for each in targets):
        raise InvalidValue(f"the timeout of an HTTP endpoint is {TIMEOUTS_S[0]} to {TIMEOUTS_S[-1]} seconds")
    if name == RETURN_PATH and not all(isinstance(each, HTTPTarget) for each in targets):
        raise InvalidValue("the route of the return path takes HTTP endpoints only")
    if name == WILDCARD and not all(isinstance(each, HTTPTarget) for each in targets[1:]):
        raise InvalidValue("further endpoints of a wildcard route must be HTTP endpoints")
    if name == RETURN_PATH and mode is not RouteMode.ENDPOINT:
        raise InvalidValue("the route of the return path has mode Endpoint")
    return targets


def address_target(address: str) -> AddressTarget:
    """Return a target for an address.

    Raises:
        InvalidValue: it is none.
    """
    return AddressTarget(checked(address.strip()))


def smtp_target(text: str, tls: TLSMode = TLSMode.STARTTLS) -> SMTPTarget:
    """Return a target for ``HOST:PORT``, or ``HOST`` with port 25; an IPv6 address stands in brackets.

    Raises:
        InvalidValue: another form.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]{2,45}\]|[^\s:\[\]/@]{1,253})(?::(\d{1,5}))?", text.strip())
    port = int(found[2]) if found and found[2] else 25
    if not found or not 0 < port < 65536:
        raise InvalidValue("an SMTP endpoint is HOST:PORT")
    host = found[1].strip("[]")
    return SMTPTarget(host if ":" in host or host[-1].isdigit() else domain_name(host), port, tls)
