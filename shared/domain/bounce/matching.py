"""Whether what came back says something of a message of ours; the last look before anything changes.

The address or a token has named the message already, by our signature.  What is left
are reports that name somebody else, come too late, or concern what never went out.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.domain.bounce.report import RecipientReport
from shared.domain.message import Direction, Message, Status

BOUNCES_BELIEVED_FOR = timedelta(days=7)
"""After the last attempt: mail systems give up within five days (RFC 5321 §4.5.4.1)."""

COMPLAINTS_BELIEVED_FOR = timedelta(days=30)
"""People read their mail when they please."""

NEVER_SENT = "This names a message that was not sent."
ANOTHER_RECIPIENT = "This names another recipient than the message had."
TOO_LATE = "This came too long after the message was sent."


def disbelief(message: Message, *, named: Sequence[str], now: datetime, believed_for: timedelta) -> str:
    """Return why a report about the message is not believed; empty if it is.

    Args:
        message: which our signature names.
        named: the recipients that the report names; none names nobody else.
        now: when it came.
        believed_for: how long after the last attempt reports count.
    """
    if message.direction is not Direction.OUTGOING or message.status in (Status.HELD, Status.HOLD_CANCELLED):
        return NEVER_SENT
    if now - (message.last_delivery_at or message.accepted_at) > believed_for:
        return TOO_LATE
    if named and not any(is_same(each, message.rcpt_to) for each in named):
        return ANOTHER_RECIPIENT
    return ""


def about(message: Message, reports: Sequence[RecipientReport]) -> RecipientReport | None:
    """Return what is said of the message's recipient, or None if it is of others."""
    to = message.rcpt_to
    return next((each for each in reports if is_same(each.recipient, to) or is_same(each.final_recipient, to)), None)


def is_same(one: str, other: str) -> bool:
    """Whether two addresses are one, as far as anybody but their host can tell."""
    return bool(one) and one.lower() == other.lower()
