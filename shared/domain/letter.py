"""What a submitted message says about itself, and what of it may travel on.

A letter is the message as it will be stored: headers meant for us are read and
taken out, Bcc is taken out, and Date and Message-ID are there.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from shared.domain.errors import InvalidValue, MalformedMessage
from shared.domain.headers import LINE_ENDING, Head, check_bytes, split_head, without
from shared.domain.submission import (
    MAX_METADATA_KEY_LENGTH,
    MAX_METADATA_KEYS,
    MAX_METADATA_VALUE_LENGTH,
    MAX_TAG_LENGTH,
)

MAX_SUBJECT = 200
MAX_IDEMPOTENCY_KEY = 255

METADATA = b"X-Edgepost-Metadata"
TRACK = b"X-Edgepost-Track"
TAG = b"X-Postal-Tag"
TEST_MODE = b"X-Edgepost-Test-Mode"
IDEMPOTENCY_KEY = b"Idempotency-Key"
LIST_UNSUBSCRIBE = b"X-Edgepost-List-Unsubscribe"
"""Asks for List-Unsubscribe; it stays in the stored message, because the fields are each recipient's own."""

REPORT_HEADER = b"X-Edgepost-Report"
"""Carries our return-path token in what we send, for reports that hide the recipient."""

TAKEN_OUT = (b"Bcc", b"Return-Path", b"X-Postal-MsgID", REPORT_HEADER, METADATA, TRACK, TEST_MODE, IDEMPOTENCY_KEY)
"""Never sent on: Bcc is nobody's business, the others are written by us or meant for us."""

_MESSAGE_ID = re.compile(r"<([^<>\s]{1,250})>")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready to be stored, and what its header said."""

    raw: bytes
    head: Head
    """As submitted, with everything that is taken out of ``raw``."""

    subject: str
    message_id: str
    tag: str
    idempotency_key: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    test_mode: bool = False


def read_letter(raw: bytes, *, now: datetime, new_message_id: str) -> Letter:
    """Read and complete a submitted message.

    Args:
        raw: with CRLF line ends.
        now: for a missing Date (RFC 6409 §8.1 lets a submission server add it).
        new_message_id: for a missing Message-ID, without angle brackets (RFC 6409 §8.3).

    Raises:
        MalformedMessage: bytes or a header that parsers read in different ways.
        InvalidValue: a header meant for us that makes no sense.
    """
    check_bytes(raw)
    head = split_head(raw)
    for name in (b"From", b"Sender", b"Subject", b"Date", b"Message-ID"):
        if len(head.named(name)) > 1:  # RFC 5322 §3.6: at most one of each
            raise MalformedMessage(f"the message has more than one {name.decode()} field")
    opens, clicks = _track(head.text(TRACK))
    found = (
        _MESSAGE_ID.search(head.named(b"Message-ID")[0].value.decode("utf-8", "replace"))
        if head.named(b"Message-ID")
        else None
    )
    _yes_no(LIST_UNSUBSCRIBE, head.text(LIST_UNSUBSCRIBE))
    drop = TAKEN_OUT if found else (*TAKEN_OUT, b"Message-ID")
    added = b""
    if not found:
        added += b"Message-ID: <%s>\r\n" % new_message_id.encode()
    if not head.named(b"Date"):
        added += b"Date: %s\r\n" % format_datetime(now).encode()
    return Letter(
        raw=without(raw, head, drop, added=added),
        head=head,
        subject=head.text(b"Subject")[:MAX_SUBJECT],
        message_id=found[1] if found else new_message_id,
        tag=checked_tag(head.text(TAG)),
        idempotency_key=checked_idempotency_key(head.text(IDEMPOTENCY_KEY)),
        metadata=_metadata(head.text(METADATA)),
        track_opens=opens,
        track_clicks=clicks,
        test_mode=_yes_no(TEST_MODE, head.text(TEST_MODE)),
    )


def checked_tag(tag: str) -> str:
    """Return the tag.

    Raises:
        InvalidValue: too long, or with line ends.
    """
    if len(tag) > MAX_TAG_LENGTH or LINE_ENDING.search(tag):
        raise InvalidValue(f"a tag is one line of at most {MAX_TAG_LENGTH} characters")
    return tag


def checked_idempotency_key(key: str) -> str:
    """Return the idempotency key.

    Raises:
        InvalidValue: too long, or not printable ASCII.
    """
    if len(key) > MAX_IDEMPOTENCY_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidValue(f"an Idempotency-Key is at most {MAX_IDEMPOTENCY_KEY} printable ASCII characters")
    return key


def checked_metadata(metadata: object) -> Mapping[str, str]:
    """Return metadata as given with a message.

    Raises:
        InvalidValue: not an object of few short texts.
    """
    if not isinstance(metadata, dict) or len(metadata) > MAX_METADATA_KEYS:
        raise InvalidValue(f"metadata must be an object with at most {MAX_METADATA_KEYS} names")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidValue("metadata must hold texts only")
        if len(name) > MAX_METADATA_KEY_LENGTH or len(value) > MAX_METADATA_VALUE_LENGTH:
            raise InvalidValue(
                f"a metadata name may have {MAX_METADATA_KEY_LENGTH} characters, a value {MAX_METADATA_VALUE_LENGTH}"
            )
        try:
            (name + value).encode()
        except UnicodeEncodeError as exc:
            raise InvalidValue("metadata must be valid Unicode") from exc
    return metadata


def _metadata(text: str) -> Mapping[str, str]:
    if not text:
        return {}
    try:
        return checked_metadata(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise InvalidValue(f"{METADATA.decode()} must be a JSON object of texts") from exc


def _yes_no(name: bytes, text: str) -> bool:
    """Read a switch; not there means no."""
    known = {"": False, "no": False, "false": False, "yes": True, "true": True}
    if text.strip().lower() not in known:
        # Mail that was meant as a test must not go out because of a misspelling.
        raise InvalidValue(f"{name.decode()} must be yes or no")
    return known[text.strip().lower()]


def _track(text: str) -> tuple[bool | None, bool | None]:
    """Read ``opens=yes, clicks=no``; what is not named is left to the server's settings."""
    switches: dict[str, bool] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, value = part.partition("=")
        if name.strip() not in ("opens", "clicks") or value.strip() not in ("yes", "no"):
            raise InvalidValue(f"{TRACK.decode()} must be of the form opens=yes, clicks=no")
        switches[name.strip()] = value.strip() == "yes"
    return switches.get("opens"), switches.get("clicks")
