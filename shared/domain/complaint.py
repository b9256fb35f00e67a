"""Spam complaints: feedback reports (RFC 5965, ARF) and the older form of Microsoft's.

Reporters hide the recipient more often than not (RFC 6590).  What a report says of
the recipient is therefore only a hint; what names message and recipient is our
signed token: in ``X-Edgepost-Report``, a header of the message that is reported, or in
its envelope sender.  Without either a report suppresses nobody.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from shared.domain.bounce.content import Content, read_content
from shared.domain.bounce.mailboxes import mailbox, mailboxes
from shared.domain.bounce.originals import read_originals
from shared.domain.bounce.report import Originals
from shared.domain.headers import on_one_line

MAX_RECIPIENTS = 20
MAX_FIELD = 500

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]*(.*)")
_REDACTED = re.compile(r"redact|hidden|removed|undisclosed|x{4,}|\*", re.IGNORECASE)
_HOTMAIL_RECIPIENT = re.compile(rb"^X-HmXmrOriginalRecipient:\s{0,5}<?([^\s<>]{3,320})>?", re.IGNORECASE | re.MULTILINE)


class ComplaintType(StrEnum):
    """Feedback types of the IANA registry (RFC 5965 §7.3, RFC 6430, RFC 6591)."""

    ABUSE = "abuse"
    FRAUD = "fraud"
    VIRUS = "virus"
    OTHER = "other"
    NOT_SPAM = "not-spam"
    AUTH_FAILURE = "auth-failure"
    OPT_OUT = "opt-out"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One feedback report."""

    type: ComplaintType
    source: str
    """Who reports: the domain of the report's author."""

    recipients: Sequence[str] = ()
    """As reported, if not hidden; only a hint."""

    originals: Originals = field(default_factory=Originals)
    """With the signed token if the reported message still has it: that is proof."""

    user_agent: str = ""
    source_ip: str = ""
    arrived_at: datetime | None = None

    @property
    def is_against_us(self) -> bool:
        """Whether somebody complained: "not spam" and failed authentication are no complaints."""
        return self.type not in (ComplaintType.NOT_SPAM, ComplaintType.AUTH_FAILURE)


def read_complaint(raw: bytes) -> Complaint | None:
    """Return the complaint that a mail is, or None; never fails."""
    return complaint_in(read_content(raw))


def complaint_in(content: Content) -> Complaint | None:
    """Return the complaint that a mail is which was taken apart, or None; never fails."""
    author = mailboxes(content.header("from"))
    source = author[0].rpartition("@")[2] if author else ""
    originals = read_originals(content.returned)
    if content.feedback:
        return _feedback(content.feedback[0], source, originals)
    return _hotmail(content, source, originals)


def _feedback(part: bytes, source: str, originals: Originals) -> Complaint | None:
    fields = _fields(part)
    if "feedback-type" not in fields:  # RFC 5965 §3.1: required
        return None
    # RFC 5965 §3.2: the envelope sender, whose local part is our token.
    token = mailbox(_first(fields, "original-mail-from")).partition("@")[0]
    if token.isalnum():
        originals = replace(originals, report_tokens=(*originals.report_tokens, token))
    found = [mailbox(value) for value in fields.get("original-rcpt-to", ())[:MAX_RECIPIENTS]]
    return Complaint(
        type=_type(fields["feedback-type"][0]),
        source=source,
        recipients=[each for each in dict.fromkeys(found) if each and not _REDACTED.search(each)],
        originals=originals,
        user_agent=_first(fields, "user-agent"),
        source_ip=_first(fields, "source-ip"),
        arrived_at=_moment(_first(fields, "arrival-date") or _first(fields, "received-date")),
    )


def _hotmail(content: Content, source: str, originals: Originals) -> Complaint | None:
    """Read Microsoft's form before ARF: a subject, and the message as it was."""
    if not content.returned or not content.header("subject").lower().startswith("complaint about message from"):
        return None
    head = content.returned[0].partition(b"\r\n\r\n")[0]
    named = _HOTMAIL_RECIPIENT.search(head)
    recipient = mailbox(named[1].decode("utf-8", "replace")) if named else ""
    return Complaint(ComplaintType.ABUSE, source, [recipient] if recipient else [], originals)


def _fields(part: bytes) -> Mapping[str, list[str]]:
    fields: dict[str, list[str]] = {}
    name = ""
    for line in part.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[:500]:
        if line[:1] in (" ", "\t") and name:
            fields[name][-1] = f"{fields[name][-1]} {line.strip()}"[:MAX_FIELD]
        elif match := _FIELD.match(line):
            name = match[1].lower()
            fields.setdefault(name, []).append(match[2].strip()[:MAX_FIELD])
        else:
            name = ""
    return fields


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return on_one_line(fields.get(name, [""])[0])


def _type(value: str) -> ComplaintType:
    word = value.strip().lower().rstrip(".")
    # Opt-out has several spellings among reporters (AOL, Yahoo).
    if word.startswith("opt-out"):
        return ComplaintType.OPT_OUT
    # RFC 5965 §3.1: an unknown type is to be taken as "other".
    return ComplaintType(word) if word in list(ComplaintType) else ComplaintType.OTHER


def _moment(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None
