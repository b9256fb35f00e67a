"""Mail that came in on port 25: for whom it is, where it came from, and what the node found out about it."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from shared.domain.ids import MessageId, ServerId
from shared.domain.inspection import NO_RULING, Ruling
from shared.domain.message import Origin
from shared.domain.routes import Route


class ReportKind(StrEnum):
    """Addresses at the return-path domain that belong to nobody: their local parts."""

    DMARC = "dmarc"
    TLS = "tlsrpt"
    COMPLAINTS = "fbl"
    ABUSE = "abuse"
    """Where reporters send what they were not told to send elsewhere (RFC 2142 §4), and people write too."""


_QUOTED = re.compile(r'"[^"]*"')
_SPF_PASSED = re.compile(r"(?:^|;)\s*spf=pass smtp\.mailfrom=")

UNSUBSCRIBE_TAG = "unsubscribe+"
"""Before a return-path token: whoever writes there wants no more of that mail."""


@dataclass(frozen=True, slots=True)
class ToRoute:
    """For a route of a tenant."""

    route: Route

    @property
    def server_id(self) -> ServerId:
        """Whose route it is."""
        return self.route.server_id


@dataclass(frozen=True, slots=True)
class ToReturnPath:
    """For the envelope sender of what a server sent."""

    server_id: ServerId
    message_id: MessageId | None = None
    """Which message, as our signature proves; None under the server's token, which proves nothing."""


@dataclass(frozen=True, slots=True)
class ToUnsubscribe:
    """For the address that a message gave for unsubscribing."""

    server_id: ServerId
    message_id: MessageId


@dataclass(frozen=True, slots=True)
class ToPeople:
    """For whoever runs this installation: a route, and the recipient's address there."""

    route: Route
    address: str


@dataclass(frozen=True, slots=True)
class ToReports:
    """For one of the report addresses."""

    kind: ReportKind
    otherwise: ToPeople | None = None
    """Where mail that is no report goes; None: it is refused."""

    @property
    def server_id(self) -> ServerId:
        """Nobody's."""
        return ServerId(0)


Destination: TypeAlias = ToRoute | ToReturnPath | ToUnsubscribe | ToReports


class InwardRefusal(StrEnum):
    """Why an address of ours takes no mail."""

    NO_SUCH_SERVER = "return path: unknown token"
    NO_SUCH_ROUTE = "route domain: unknown token"
    NO_OPERATOR = "nobody takes mail for postmaster"
    OPERATOR_MISSING = "the route that takes mail for postmaster is not there, or takes none now"
    REJECTED = "the route's mode is Reject"
    SUSPENDED = "the server is suspended"


class About(NamedTuple):
    """Which message of ours a mail is about."""

    message_id: MessageId
    reports: str = ""
    """The kind of event that follows from it; empty if none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One mail for one recipient."""

    to: Destination
    rcpt_to: str
    """Checked; for a route's token, the route's address with the tag kept."""

    mail_from: str
    """Empty for the null sender."""

    raw: bytes
    """As it is kept: our trace fields and what the scanners said on top, CRLF line ends."""

    origin: Origin
    """Address, name and HELO of the client; ``via`` tells of TLS."""

    received_at: datetime
    about: About | None = None
    """None for mail about no message of ours.  Of the other only so much is kept."""

    digest: str = ""
    """What makes a repeated mail the same one; empty: every mail is another."""

    authentication: str = ""
    """Our Authentication-Results, unfolded; empty if nothing was checked."""

    ruling: Ruling = NO_RULING
    """What the scanners said, and what the server makes of it."""

    @property
    def server_id(self) -> ServerId:
        """Whose mail it is; 0 for a report address."""
        return self.to.server_id

    @property
    def route(self) -> Route | None:
        """The route, if there is one."""
        return self.to.route if isinstance(self.to, ToRoute) else None


def spf_passed(authentication: str) -> bool:
    """Whether our Authentication-Results, unfolded, says that the envelope sender is who it says (RFC 7208).

    What a sender chose stands in quotes if it has a semicolon or a space, so it cannot say that itself.
    """
    return bool(_SPF_PASSED.search(_QUOTED.sub('""', authentication)))
