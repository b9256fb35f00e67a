"""From what an application asked for to the message that will be sent."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from functions.api.errors import Problem, naming
from functions.api.schemas.send_message import SendMessage, WantedAttachment, attachment_without_data
from shared.domain.errors import InvalidValue, SenderNotAllowed
from shared.domain.headers import Head, split_head
from shared.domain.letter import LIST_UNSUBSCRIBE
from shared.domain.mime import (
    DEFAULT_CONTENT_TYPE,
    Attachment,
    build,
    checked_content_id,
    checked_content_type,
)
from shared.domain.mime_encoding import lenient_base64
from shared.domain.mime_headers import address_field, text_field
from shared.domain.mime_mailboxes import Mailbox, mailbox, split_list

MAX_CUSTOM_HEADERS = 200

OURS = frozenset({"from", "message-id", "mime-version", "content-type", "content-transfer-encoding"})
"""Always written from the parameters; a custom one is passed over, as in Postal."""

WITH_ADDRESSES = frozenset(
    {
        "cc",
        "disposition-notification-to",
        "errors-to",
        "mail-followup-to",
        "reply-to",
        "return-receipt-to",
        "sender",
        "to",
    }
)
"""Fields in which only a name may be encoded, never an address (RFC 2047 §5 (3))."""

FORBIDDEN_NAMES = frozenset(
    {
        "authentication-results",
        "bcc",
        "dkim-signature",
        "domainkey-signature",
        "received",
        "received-spf",
        "return-path",
        "x-postal-msgid",
        "x-edgepost-report",
    }
)
FORBIDDEN_PREFIXES = ("content-", "arc-", "resent-")
"""Structure, trace and signatures: whoever could set these could forge them."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """Who a message is from and for, every address checked."""

    author: Mailbox
    sender: Mailbox | None
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox]
    bcc: Sequence[Mailbox]
    reply_to: Sequence[Mailbox]

    @property
    def recipients(self) -> Sequence[str]:
        """Return the bare addresses as given, in Postal's order."""
        return [each.written for each in (*self.to, *self.cc, *self.bcc)]


def sender_head(wanted: SendMessage) -> Head:
    """Return the head by which the sender is judged, before anything else is built.

    It holds the texts as they were given: an encoded word in a name is judged by
    what it decodes to, although the message will show it literally.  What is
    built of them is judged once more when it is accepted.

    Raises:
        SenderNotAllowed: From or Sender is not one address.
    """
    given = [("From", wanted.sent_from)]
    if wanted.sender.strip():
        given.append(("Sender", wanted.sender))
    try:
        for _, text in given:
            mailbox(text)
    except InvalidValue as exc:
        raise SenderNotAllowed(str(exc)) from exc
    return split_head("".join(f"{name}: {text}\r\n" for name, text in given).encode("utf-8"))


def addressed(wanted: SendMessage) -> Addressed:
    """Return the message's addresses.

    Raises:
        Problem: one of them is no address; Postal has no such check and fails later.
    """
    return Addressed(
        author=mailbox(wanted.sent_from),
        sender=mailbox(wanted.sender) if wanted.sender.strip() else None,
        to=_mailboxes("to", wanted.to),
        cc=_mailboxes("cc", wanted.cc),
        bcc=_mailboxes("bcc", wanted.bcc),
        reply_to=_mailboxes("reply_to", wanted.reply_to),
    )


def _mailboxes(name: str, given: Sequence[str]) -> Sequence[Mailbox]:
    with naming("InvalidAddress", name):
        return [mailbox(each) for each in given]


def composed(wanted: SendMessage, people: Addressed, *, now: datetime, rng: random.Random) -> bytes:
    """Return the message with CRLF line ends, Date included; accepting it gives it a Message-ID.

    Raises:
        Problem: a header or an attachment that cannot be sent as asked.
    """
    fields: list[bytes] = []
    if "date" not in {name.lower() for name in wanted.headers}:
        fields.append(text_field("Date", format_datetime(now)))
    fields += _standard_fields(wanted, people)
    if wanted.list_unsubscribe:
        fields.append(text_field(LIST_UNSUBSCRIBE.decode(), "yes"))
    fields += _custom_fields(wanted.headers, {_name_of(field) for field in fields} | OURS)
    attachments = [_attachment(each) for each in wanted.attachments]
    with naming("InvalidAttachment", "attachments"):
        return build(
            fields,
            plain="" if not wanted.plain.strip() else wanted.plain,
            html="" if not wanted.html.strip() else wanted.html,
            attachments=attachments,
            rng=rng,
        )


def _standard_fields(wanted: SendMessage, people: Addressed) -> Sequence[bytes]:
    fields = [address_field("From", [people.author])]
    if people.sender:
        fields.append(address_field("Sender", [people.sender]))
    # Bcc recipients must not appear in any of these: headers are sent to everyone.
    for name, mailboxes in (("To", people.to), ("Cc", people.cc), ("Reply-To", people.reply_to)):
        if mailboxes:
            with naming("InvalidAddress", name.lower().replace("-", "_")):
                fields.append(address_field(name, mailboxes))
    if wanted.subject:
        with naming("InvalidParameter", "subject"):
            fields.append(text_field("Subject", wanted.subject))
    return fields


def _custom_fields(headers: Mapping[str, Sequence[str]], taken: set[str] | frozenset[str]) -> Sequence[bytes]:
    """Return the custom fields, without those that the standard parameters have set."""
    if sum(map(len, headers.values())) > MAX_CUSTOM_HEADERS:
        raise Problem("InvalidHeader", f"A message may have at most {MAX_CUSTOM_HEADERS} custom headers")
    fields: list[bytes] = []
    for name, values in headers.items():
        if name.lower() in taken:
            continue
        if name.lower() in FORBIDDEN_NAMES or name.lower().startswith(FORBIDDEN_PREFIXES):
            raise Problem("InvalidHeader", f"The header {name} cannot be set: it is written by the mail system")
        with naming("InvalidHeader", f"headers[{name[:80]}]"):
            fields += _fields_of(name, values)
    return fields


def _fields_of(name: str, values: Sequence[str]) -> Sequence[bytes]:
    """Return a field for each value; several values of addresses share one field (RFC 5322 §3.6)."""
    if name.lower() in WITH_ADDRESSES:
        try:
            if found := [mailbox(each) for value in values for each in split_list(value)]:
                return [address_field(name, found)]
        except InvalidValue:
            pass  # such as an empty group, "undisclosed-recipients:;": it goes as text
    return [text_field(name, value) for value in values]


def _name_of(field: bytes) -> str:
    return field.partition(b":")[0].decode("ascii").lower()


def _attachment(wanted: WantedAttachment) -> Attachment:
    with naming("InvalidAttachment", "content_type"):
        content_type = checked_content_type(wanted.content_type.strip() or DEFAULT_CONTENT_TYPE)
    content_id = ""
    with naming("InvalidAttachment", "content_id"):
        if wanted.content_id.strip():
            content_id = checked_content_id(wanted.content_id)
    inline = wanted.disposition == "inline" or (bool(content_id) and wanted.disposition != "attachment")
    if inline and not content_id:
        content_id = _content_id_of(wanted.name)
    content = wanted.data if isinstance(wanted.data, bytes) else lenient_base64(wanted.data)
    if not content:
        raise attachment_without_data()
    return Attachment(wanted.name, content, content_type, content_id, inline)


def _content_id_of(name: str) -> str:
    """Return the file name as content id, so that ``cid:logo.png`` shows it; empty if it cannot be one."""
    try:
        return checked_content_id(name)
    except InvalidValue:
        return ""
