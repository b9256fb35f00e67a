"""What both front doors hand to ``accept``, and what they get back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.domain.ids import MessageId
from shared.domain.message import Origin
from shared.domain.tenancy import Credential, Tenant

MAX_RECIPIENTS = 1000
"""Of one submission, after removing repeats (Postfix smtpd_recipient_limit)."""

MAX_TAG_LENGTH = 255
MAX_METADATA_KEYS = 10
MAX_METADATA_KEY_LENGTH = 50
MAX_METADATA_VALUE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Submission:
    """An authenticated request to send one body to some recipients.

    The door has checked the credential; ``accept`` checks everything else, so
    that both doors refuse the same things.
    """

    tenant: Tenant
    credential: Credential
    mail_from: str
    """Envelope sender; empty for a null sender (RFC 5321 §4.5.5)."""

    recipients: Sequence[str]
    """Bare addresses in the order given; repeats are dropped."""

    raw: bytes
    """The message with CRLF line ends; Date and Message-ID are added if missing."""

    origin: Origin
    tag: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    bounce: bool = False
    test_mode: bool = False
    """Make the last step up (``shared.domain.simulator``)."""

    idempotency_key: str = ""
    request_digest: str = ""
    """What makes two requests with the same key the same one; SHA-256 in hex.

    The door computes it from the request as it came, before anything random
    (boundaries, a Message-ID) is added.
    """

    upload: str = ""
    """Which upload brought the request, and to which door; empty for none.

    A repetition may come when the upload is gone.
    """


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """One recipient's message, as Postal's answer names it."""

    id: MessageId
    token: str
    suppressed: str = ""
    """Why the recipient is on a suppression list: the message will be held. Empty: it is on none."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a submission; the same again for a repeated idempotency key."""

    message_id: str
    """Of the header, without angle brackets."""

    messages: Mapping[str, AcceptedMessage]
    """By recipient, in the order given."""
