"""The bounce that we send when incoming mail cannot be passed on: a report as of RFC 3464, and to whom one may go.

Whoever may be forged is told nothing, because a bounce to a forged sender is spam of ours
(backscatter); whatever was made by a machine is told nothing, because machines answer each
other for ever (RFC 3834 §2):

| told nothing | why |
| --- | --- |
| the null sender, ``MAILER-DAEMON`` | it is a bounce |
| a sender that SPF did not prove | it may be forged |
| ``Auto-Submitted`` other than no, ``X-Auto-Response-Suppress``, a report | a machine wrote it |
| spam, or a threat | its sender is not who it says |
"""

from datetime import datetime
from email.utils import format_datetime

from shared.domain.errors import MalformedMessage
from shared.domain.headers import Head, split_head
from shared.domain.message import Delivery, Message, SpamStatus
from shared.domain.mime_headers import text_field

MAX_RETURNED_BYTES = 64 * 1024
"""Of the header that is returned; the body never is: it may be large, and harmful."""

SENDER = "MAILER-DAEMON"
UNDEFINED = "5.0.0"

_SUPPRESSING = frozenset({"dr", "ndr", "all"})
"""Values of X-Auto-Response-Suppress ([MS-OXCMAIL] §2.2.3.2.14) that ask for no delivery reports."""


def may_bounce(message: Message, raw: bytes | None) -> bool:
    """Whether the sender of a failed incoming message may be told.

    Args:
        message: the record.
        raw: the mail; None if it is no longer kept: then nothing is sent.
    """
    if raw is None or message.bounce or not message.sender_verified or not message.domain:
        return False
    if message.spam_status is SpamStatus.SPAM or message.threat:
        return False
    local = message.mail_from.rpartition("@")[0].lower()
    if not local or local == SENDER.lower():
        return False
    try:
        return not _by_machine(split_head(raw))
    except MalformedMessage:
        return False  # what we cannot read may say that it is automatic


def _by_machine(head: Head) -> bool:
    automatic = any(_word(each.value) != "no" for each in head.named(b"Auto-Submitted"))
    suppress = {word.strip() for word in head.text(b"X-Auto-Response-Suppress").lower().split(",")}
    report = _word(b"".join(each.value for each in head.named(b"Content-Type"))) == "multipart/report"
    return automatic or bool(suppress & _SUPPRESSING) or report


def _word(value: bytes) -> str:
    return value.partition(b";")[0].split(b"(")[0].strip().decode("ascii", "replace").lower()


def bounce_report(
    message: Message, row: Delivery, raw: bytes, *, message_id: str, hostname: str, at: datetime
) -> bytes:
    """Return the report, CRLF line ends; the same for the same failure.

    What an endpoint answered and where it is concerns the route's owner only, so the
    report has the code and a general sentence.

    Args:
        message: the incoming message that failed.
        row: its delivery row that says so.
        raw: the mail, whose header is returned.
        message_id: of the report, without angle brackets.
        hostname: of this installation.
        at: the report's date.
    """
    status = row.evidence.enhanced_code if row.evidence.enhanced_code.startswith("5.") else UNDEFINED
    boundary = f"=_{row.log_id}{row.id}"
    head = b"".join(
        (
            f"From: Mail Delivery Service <{SENDER}@{message.domain}>\r\n".encode(),
            f"To: <{message.mail_from}>\r\n".encode(),
            text_field("Subject", f"Mail Delivery Failed ({_plain(message.subject)})"),
            f"Date: {format_datetime(at)}\r\nMessage-ID: <{message_id}>\r\n".encode(),
            _in_reply_to(message),
            b"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n",
            f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n'.encode(),
        )
    )
    text = (
        "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"This is the mail system at {hostname}.\r\n\r\n"
        f"Your message to {message.rcpt_to} could not be delivered.\r\n"
        "It will not be tried again.\r\n\r\n"
        f"Status: {status}\r\n"
    )
    kind = "message/delivery-status" if message.rcpt_to.isascii() else "message/global-delivery-status"
    address_type = "rfc822" if message.rcpt_to.isascii() else "utf-8"  # RFC 6533 §3
    report = (
        f"Content-Type: {kind}\r\n\r\n"
        f"Reporting-MTA: dns; {hostname}\r\nArrival-Date: {format_datetime(message.accepted_at)}\r\n\r\n"
        f"Final-Recipient: {address_type}; {message.rcpt_to}\r\nAction: failed\r\nStatus: {status}\r\n"
    )
    returned = b"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + _header(raw)
    parts = (text.encode(), report.encode(), returned)
    delimiter = f"\r\n--{boundary}".encode()
    return head + b"".join(delimiter + b"\r\n" + part for part in parts) + delimiter + b"--\r\n"


def _plain(subject: str) -> str:
    return "".join(char if char.isprintable() else " " for char in subject)[:150]


def _in_reply_to(message: Message) -> bytes:
    """Return the fields that tie the report to the mail; none if its id is nothing that can stand there."""
    name = message.message_id
    if not 0 < len(name) <= 200 or not all(32 < ord(char) < 127 and char not in "<>" for char in name):
        return b""
    return f"In-Reply-To: <{name}>\r\nReferences: <{name}>\r\n".encode()


def _header(raw: bytes) -> bytes:
    """Return the mail's header up to its limit, cut at a line end."""
    end = raw.find(b"\r\n\r\n", 0, MAX_RETURNED_BYTES)
    if end >= 0:
        return raw[: end + 2]
    return raw[: raw.rfind(b"\r\n", 0, MAX_RETURNED_BYTES) + 2]
