"""A message to one recipient, its statuses, and what was tried with it.

Statuses are Postal's (app/models/delivery.rb).  ``attempt`` is the number of the next
claim: a job may act only while its attempt is the message's, so every step
that ends an attempt moves the number on::

    accept             Pending, attempt 1
    claim              lease until now + 30 s, claims + 1
    settle  Sent       Sent,     attempt + 1, final
            SoftFail   SoftFail, attempt + 1, failures + 1, next attempt set
            HardFail   HardFail, attempt + 1, final
            Held       Held,     attempt + 1, hold expiry set
            Processed  Processed, attempt + 1, final: taken in, with nowhere to go
            Postponed  as before, same attempt, next attempt set
    release            Pending, from Held, same attempt, released by a person
    cancel, expire     HoldCancelled, from Held, attempt + 1, final
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import CredentialId, MessageId, ServerId, drawn_at
from shared.domain.routes import Target


class Direction(StrEnum):
    """Where the message goes: out to the world, or in to a route."""

    OUTGOING = "outgoing"
    INCOMING = "incoming"


class Status(StrEnum):
    """What has become of the message so far."""

    PENDING = "Pending"
    SENT = "Sent"
    SOFT_FAIL = "SoftFail"
    HARD_FAIL = "HardFail"
    HELD = "Held"
    HOLD_CANCELLED = "HoldCancelled"
    PROCESSED = "Processed"
    BOUNCED = "Bounced"

    @property
    def final(self) -> bool:
        """Whether no further attempt will be made by itself."""
        return self not in (Status.PENDING, Status.SOFT_FAIL, Status.HELD)


class SpamStatus(StrEnum):
    """What a scan said of the message, in Postal's words (spam_status)."""

    NOT_CHECKED = "NotChecked"
    NOT_SPAM = "NotSpam"
    SPAM = "Spam"


class Via(StrEnum):
    """The protocol by which a message came in, as a Received header says it (RFC 3848)."""

    HTTP = "HTTP"
    RAW_HTTP = "HTTP raw"
    """Handed over complete, by ``send/raw``: gets no Received header, as in Postal."""
    ESMTPA = "ESMTPA"
    ESMTPSA = "ESMTPSA"
    ESMTP = "ESMTP"
    ESMTPS = "ESMTPS"
    LOCAL = "local"

    @property
    def over_tls(self) -> bool:
        """Whether the client's connection was encrypted, as far as we can see."""
        return self in (Via.HTTP, Via.RAW_HTTP, Via.ESMTPSA, Via.ESMTPS)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from, for its Received header."""

    via: Via
    address: str = ""
    """IP address of the client, after trusted proxies; empty for local ones."""

    name: str = ""
    """Reverse DNS name of the address, if known."""

    helo: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """The record of one message to one recipient; the body lies elsewhere."""

    server_id: ServerId
    id: MessageId
    token: str
    direction: Direction
    rcpt_to: str
    mail_from: str
    """Envelope sender as submitted; empty for mail sent with a null sender."""

    subject: str
    """Decoded, at most 200 characters."""

    message_id: str
    """Of the header, without angle brackets."""

    body_key: str
    size_bytes: int
    origin: Origin
    status: Status = Status.PENDING
    attempt: int = 1
    failures: int = 0
    """Soft failures so far: what the retry schedule counts."""

    claims: int = 0
    """Claims since the last settled attempt; more than one means abandoned attempts."""

    fence: int = 0
    """Counts claims and never goes back: who holds the latest may write."""

    deliveries: int = 0
    """How many delivery rows it has."""

    lease_until: datetime | None = None
    """Until then one node alone may act; None when free."""

    next_attempt_at: datetime | None = None
    hold_expires_at: datetime | None = None
    released: bool = False
    """Released by hand: holds that a person may overrule do not apply again."""

    tag: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    domain: str = ""
    """The verified domain that authorised the sender: it signs."""

    credential_id: CredentialId | None = None
    bounce: bool = False
    test_mode: bool = False
    """Goes the whole way but the last step: the node makes up what the remote would say."""

    last_delivery_at: datetime | None = None

    route: str = ""
    """Of incoming mail: the address of the route that took it."""

    endpoint: Target | None = None
    """Of incoming mail: where this copy goes; a route's further endpoints have copies of their own."""

    sender_verified: bool = False
    """SPF proved the envelope sender: only then it may be sent a bounce."""

    inspected: bool = False
    """Some scanner has seen it."""

    spam_status: SpamStatus = SpamStatus.NOT_CHECKED
    spam_score: float = 0.0
    """To two decimals; 0 if it was not scanned for spam."""

    threat: str = ""
    """What a virus scanner found; empty for nothing."""

    @property
    def accepted_at(self) -> datetime:
        """When it was accepted, to the millisecond: the id tells."""
        return drawn_at(self.id)

    @property
    def held(self) -> bool:
        """Whether it waits for somebody to release or cancel it."""
        return self.status is Status.HELD


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen on the wire in one attempt; empty where nothing was."""

    mx: str = ""
    mx_address: str = ""
    source_address: str = ""
    smtp_code: int = 0
    enhanced_code: str = ""
    """RFC 3463, such as 5.1.1; empty if the reply had none."""

    tls: str = ""
    """Version and cipher, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty for clear text."""

    conversation: str = ""
    """Commands and replies, one a line, never the body or secrets; at most 8 KB."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of a message's history, as Postal's deliveries: an attempt or a hold."""

    id: int
    """Drawn as message ids are, so rows sort by time."""

    attempt: int
    """The attempt that ended in this row."""

    status: Status
    details: str
    """Our sentence, at most 250 characters."""

    output: str
    """The remote's last reply, at most 512 characters."""

    at: datetime
    log_id: str
    duration: timedelta | None = None
    evidence: Evidence = field(default_factory=Evidence)
