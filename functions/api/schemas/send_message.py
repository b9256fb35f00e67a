"""The parameters of ``send/message``: what an application asks to be sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from functions.api.errors import Problem, naming
from functions.api.schemas.fields import base64_or_bytes, is_blank, is_true, switch, text, word
from shared.domain.letter import checked_metadata, checked_tag
from shared.domain.mime_mailboxes import split_list

MAX_PER_FIELD = 50
MAX_ATTACHMENTS = 200

_TOO_MANY = {
    "to": ("TooManyToAddresses", "The maximum number of To addresses has been reached (maximum 50)"),
    "cc": ("TooManyCCAddresses", "The maximum number of CC addresses has been reached (maximum 50)"),
    "bcc": ("TooManyBCCAddresses", "The maximum number of BCC addresses has been reached (maximum 50)"),
}


@dataclass(frozen=True, slots=True)
class WantedAttachment:
    """An attachment as asked for."""

    name: str
    content_type: str
    data: str | bytes
    """Base64, or what it encoded."""

    content_id: str
    disposition: str


@dataclass(frozen=True, slots=True)
class SendMessage:
    """A message as asked for; nothing is checked but its shape."""

    to: Sequence[str]
    cc: Sequence[str]
    bcc: Sequence[str]
    sent_from: str
    sender: str
    subject: str
    reply_to: Sequence[str]
    plain: str
    html: str
    headers: Mapping[str, Sequence[str]]
    attachments: Sequence[WantedAttachment]
    bounce: bool
    tag: str
    metadata: Mapping[str, str]
    track_opens: bool | None
    track_clicks: bool | None
    test_mode: bool
    list_unsubscribe: bool

    def check_basics(self) -> None:
        """Raise Postal's first problem before the sender is looked at (outgoing_message_prototype.rb, validate)."""
        if not (self.to or self.cc or self.bcc):
            raise Problem("NoRecipients", "There are no recipients defined to receive this message")
        for name, addresses in (("to", self.to), ("cc", self.cc), ("bcc", self.bcc)):
            if len(addresses) > MAX_PER_FIELD:
                raise Problem(*_TOO_MANY[name])
        if is_blank(self.plain) and is_blank(self.html):
            raise Problem("NoContent", "There is no content defined for this e-mail")
        if is_blank(self.sent_from):
            raise Problem("FromAddressMissing", "The From address is missing and is required")

    def check_attachments(self) -> None:
        """Raise Postal's problems with attachments, which come after the sender's."""
        for attachment in self.attachments:
            if is_blank(attachment.name):
                raise Problem("AttachmentMissingName", "An attachment is missing a name")
            if is_blank(attachment.data):
                raise attachment_without_data()
        if len(self.attachments) > MAX_ATTACHMENTS:
            raise Problem("InvalidAttachment", f"A message may have at most {MAX_ATTACHMENTS} attachments")

    @property
    def size_bytes(self) -> int:
        """About how large the message will be."""
        return len(self.plain) + len(self.html) + sum(len(attachment.data) for attachment in self.attachments)


def attachment_without_data() -> Problem:
    """Return Postal's answer to an attachment whose data is blank, or decodes to nothing."""
    return Problem("AttachmentMissingData", "An attachment is missing data")


def send_message_of(values: Mapping[str, object]) -> SendMessage:
    """Return what the parameters ask for.

    Only what Postal does not know can be wrong here; the rest is read as Postal
    reads it, and ``text_body`` stands in for a blank ``plain_body``.

    Raises:
        Problem: metadata, a tag or a tracking switch of the wrong form or size.
    """
    plain = text(values.get("plain_body"))
    with naming("InvalidParameter", "tag"):
        tag = checked_tag(text(values.get("tag")).strip())
    return SendMessage(
        to=_addresses(values, "to"),
        cc=_addresses(values, "cc"),
        bcc=_addresses(values, "bcc"),
        sent_from=text(values.get("from")),
        sender=text(values.get("sender")),
        subject=text(values.get("subject")),
        reply_to=_addresses(values, "reply_to"),
        plain=text(values.get("text_body")) if is_blank(plain) else plain,
        html=text(values.get("html_body")),
        headers=_headers(values.get("headers")),
        attachments=_attachments(values.get("attachments")),
        bounce=is_true(values.get("bounce")),
        tag=tag,
        metadata=_metadata(values.get("metadata")),
        track_opens=_switch(values, "track_opens"),
        track_clicks=_switch(values, "track_clicks"),
        test_mode=bool(_switch(values, "test_mode")),
        list_unsubscribe=bool(_switch(values, "list_unsubscribe")),
    )


def _addresses(values: Mapping[str, object], name: str) -> Sequence[str]:
    """Return the entries of a list or of a comma-separated string, blank ones left out."""
    value = values.get(name)
    if isinstance(value, str):
        with naming("InvalidAddress", name):
            return split_list(value)
    if not isinstance(value, list):
        return []
    # What is no text stays as an empty entry, so that it is refused as an address.
    return [text(entry) for entry in value if not is_blank(entry)]


def _headers(value: object) -> Mapping[str, Sequence[str]]:
    """Return each header's values; a list has several."""
    if not isinstance(value, dict):
        return {}
    return {
        name: [text(word(each)) for each in (given if isinstance(given, list) else [given])]
        for name, given in value.items()
        if given is not None
    }


def _attachments(value: object) -> Sequence[WantedAttachment]:
    entries = value if isinstance(value, list) else []
    return [
        WantedAttachment(
            name=text(entry.get("name")),
            content_type=text(entry.get("content_type")),
            data=base64_or_bytes(entry.get("data")),
            content_id=text(entry.get("content_id")),
            disposition=text(entry.get("disposition")).strip().lower(),
        )
        for entry in entries
        if isinstance(entry, dict)
    ]


def _metadata(value: object) -> Mapping[str, str]:
    if is_blank(value):
        return {}
    if isinstance(value, dict):
        value = {name: word(each) for name, each in value.items()}
    with naming("InvalidParameter", "metadata"):
        return checked_metadata(value)


def _switch(values: Mapping[str, object], name: str) -> bool | None:
    with naming("InvalidParameter", name):
        return switch(values.get(name))
