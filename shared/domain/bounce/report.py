"""What a mail that came to a return path turned out to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_DIAGNOSTIC = 500
"""Characters of a diagnostic that are kept."""


class Kind(StrEnum):
    """What the mail is; only ``BOUNCE`` changes anything."""

    BOUNCE = "bounce"
    DELAYED = "delayed"
    """Still being tried (RFC 3464 §2.3.3, ``Action: delayed``)."""

    DELIVERED = "delivered"
    """A success notice: delivered, relayed or expanded."""

    AUTO_REPLY = "auto_reply"
    """A vacation notice or another automatic answer (RFC 3834)."""

    CHALLENGE = "challenge"
    """Asks the sender to prove to be a person."""

    RECEIPT = "receipt"
    """A disposition notification (RFC 8098)."""

    COMPLAINT = "complaint"
    """A feedback report (RFC 5965); ``shared.domain.complaint`` reads it."""

    OTHER = "other"


class Action(StrEnum):
    """What the reporting host did for a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class BounceType(StrEnum):
    """Whether it is worth sending to the address again."""

    HARD = "hard"
    """Permanent: RFC 3463 class 5, and not merely a full mailbox."""

    SOFT = "soft"
    """It may work another day: class 4, a full mailbox, a rate limit, an expired queue."""

    UNDETERMINED = "undetermined"
    """A bounce that does not say why."""


class Category(StrEnum):
    """Why the mail was not delivered; a closed list."""

    UNKNOWN_USER = "unknown_user"
    MAILBOX_DISABLED = "mailbox_disabled"
    MAILBOX_FULL = "mailbox_full"
    MOVED = "moved"
    DNS = "dns"
    CONNECTION = "connection"
    EXPIRED = "expired"
    POLICY = "policy"
    SPAM_BLOCK = "spam_block"
    VIRUS = "virus"
    AUTHENTICATION = "authentication"
    RELAY_DENIED = "relay_denied"
    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    LOOP = "loop"
    PROTOCOL = "protocol"
    SYSTEM = "system"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What is said of one recipient."""

    recipient: str
    """The address we sent to, as far as the report knows it; the domain in lower case."""

    action: Action
    type: BounceType = BounceType.UNDETERMINED
    code: str = ""
    """RFC 3463: as reported, else made from the SMTP code or the category; empty if nothing is known."""

    category: Category = Category.OTHER
    diagnostic: str = ""
    """What the remote host said, on one line."""

    final_recipient: str = ""
    """Where the mail was forwarded to, if that is another address."""


@dataclass(frozen=True, slots=True)
class Originals:
    """Names of our message that stand in the returned part, and only there: hints, never proof."""

    message_ids: Sequence[str] = ()
    """Without angle brackets."""

    tokens: Sequence[str] = ()
    """Postal's ``X-Postal-MsgID``."""

    report_tokens: Sequence[str] = ()
    """Our signed return-path tokens, from ``X-Edgepost-Report``, ``Return-Path`` and ``Original-Envelope-Id``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The mail as it was understood."""

    kind: Kind
    recipients: Sequence[RecipientReport] = ()
    originals: Originals = Originals()
    format: str = ""
    """The name of the rule that recognised it."""

    @property
    def bounced(self) -> Sequence[RecipientReport]:
        """The recipients who did not and will not get the message."""
        return [each for each in self.recipients if each.action is Action.FAILED]
