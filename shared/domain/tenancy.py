"""Who may send: organizations, their servers, domains and credentials.

As in Postal (app/models/organization.rb, server.rb, domain.rb, credential.rb),
with two differences: a server's permalink is unique in the whole installation,
and keys are stored as hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.dns_check import DNSCheck
from shared.domain.ids import CredentialId, OrganizationId, ServerId


class Mode(StrEnum):
    """What a server does with mail: send it, or hold everything."""

    LIVE = "Live"
    DEVELOPMENT = "Development"


class CredentialType(StrEnum):
    """Which door a credential opens; a key of one type never works at another door."""

    API = "API"
    SMTP = "SMTP"
    SMTP_IP = "SMTP-IP"


class Scope(StrEnum):
    """How far a caller's word reaches; checked in the flow, never at the door alone."""

    ADMIN = "admin"
    """The whole installation, as Postal's admin users and its console."""

    ORGANIZATION = "organization"
    SERVER = "server"


class DKIMAlgorithm(StrEnum):
    """Signing algorithms of RFC 6376 and RFC 8463, by their key type in the DNS."""

    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant: owns servers and, shared by all of them, domains."""

    id: OrganizationId
    name: str
    permalink: str
    created_at: datetime
    suspended_at: datetime | None = None
    suspension_reason: str = ""


@dataclass(frozen=True, slots=True)
class Shards:
    """From this moment on, this many partitions take the messages of an hour."""

    since: datetime
    count: int


def shards_at(shards: Sequence[Shards], at: datetime) -> int:
    """Return how many partitions take what belongs to that moment; 1 before the first entry."""
    count = 1
    for each in shards:
        if each.since <= at:
            count = each.count
    return count


@dataclass(frozen=True, slots=True)
class Server:
    """What Postal calls a mail server: the unit that sends, is limited and is counted."""

    id: ServerId
    organization_id: OrganizationId
    name: str
    permalink: str
    token: str
    """Six lower-case letters, as in Postal's return paths."""

    mode: Mode
    created_at: datetime
    shards: Sequence[Shards]
    """Oldest first; only ever extended, so that a look-up by id needs no index."""

    allow_sender: bool = False
    """Accept mail whose ``Sender:``, not ``From:``, is of a verified domain."""

    privacy_mode: bool = False
    """Leave the client's name and address out of the Received header."""

    ip_pool: str = "default"
    shared_tracking: bool = False
    """Mail without a tracking domain of its own uses the installation's."""

    spam_threshold: float = 5.0
    """Incoming mail that scores more is spam."""

    spam_failure_threshold: float = 20.0
    """Incoming mail that scores so much fails."""

    outbound_spam_threshold: float | None = None
    """Outgoing mail that scores so much fails; None: it is not scanned."""

    suspended_at: datetime | None = None
    suspension_reason: str = ""


@dataclass(frozen=True, slots=True)
class DKIMKey:
    """One signing key of a domain; the private half is wrapped by the master key."""

    algorithm: DKIMAlgorithm
    selector: str
    public: str
    """Base64, as it stands in the ``p=`` tag of the DNS record."""

    wrapped: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A sending domain of one server, or of an organization and all its servers."""

    name: str
    """Lower case, IDNs as A-labels."""

    organization_id: OrganizationId
    server_id: ServerId | None
    """None: every server of the organization may use it."""

    keys: Sequence[DKIMKey]
    verification_token: str
    created_at: datetime
    verified_at: datetime | None = None
    """Mail may be sent from the domain only once this is set."""

    trusted: bool = False
    """Verified by an admin's word, without the DNS."""

    own_return_path: bool = False
    """The alias for its own return path led to us when it was last looked for."""

    check: DNSCheck | None = None
    """What is known of its records; None before the first look."""

    check_due: datetime | None = None
    """When its records are looked at again; an entry of the schedule for another moment is an old one."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What lets a client in: a key by its hash, or a network."""

    id: CredentialId
    server_id: ServerId
    type: CredentialType
    name: str
    hold: bool
    """Hold everything that comes in with it."""

    created_at: datetime
    key_hash: str = ""
    """SHA-256 in hex of the key; empty for SMTP-IP."""

    network: str = ""
    """CIDR of an SMTP-IP credential; empty for the others."""

    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A server with its organization: what a door must know of the caller."""

    server: Server
    organization: Organization

    @property
    def suspended(self) -> bool:
        """Whether the server, or its organization with all servers, is suspended."""
        return bool(self.server.suspended_at or self.organization.suspended_at)
