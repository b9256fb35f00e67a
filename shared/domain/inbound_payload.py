"""What an HTTP endpoint is sent of a mail: Postal's fields, types and order (app/senders/http_sender.rb).

| format | as JSON | as a form |
| --- | --- | --- |
| Hash | the object below | its fields; attachments as ``attachments[0][filename]`` … |
| RawMessage | id, rcpt_to, mail_from, message (base64), base64, size | the same |

Numbers and truth values are JSON's, but ``size`` of a hash is a text; ``reply_to`` is a list
or null; base64 has lines of 60 characters, each with its line end.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from shared.domain.message import Message
from shared.domain.mime_reading import Contents, contents, header_texts
from shared.domain.moments import to_ms
from shared.domain.reply_separator import separate
from shared.domain.routes import Encoding, HTTPTarget, PayloadFormat
from shared.domain.webhook_payload import RAILS_ESCAPES

BASE64_LINE = 60

CONTENT_TYPES = {Encoding.JSON: "application/json", Encoding.FORM: "application/x-www-form-urlencoded"}


def inbound_body(message: Message, raw: bytes, target: HTTPTarget) -> bytes:
    """Return exactly what is sent and signed; the same on every attempt.

    Several times the size of the mail is read and written: call it from a thread for large ones.

    Args:
        message: the record.
        raw: the stored mail, CRLF line ends.
        target: says which form is wanted.
    """
    payload = _raw_message(message, raw) if target.format is PayloadFormat.RAW else _hash(message, raw, target)
    if target.encoding is Encoding.FORM:
        return _form(payload).encode()
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).translate(RAILS_ESCAPES)
    return text.encode("utf-8", "replace")


# Any: payloads are JSON.
def _raw_message(message: Message, raw: bytes) -> dict[str, Any]:
    return {
        "id": message.id,
        "rcpt_to": message.rcpt_to,
        "mail_from": message.mail_from,
        "message": _base64(raw),
        "base64": True,
        "size": len(raw),
    }


def _hash(message: Message, raw: bytes, target: HTTPTarget) -> dict[str, Any]:
    headers, read = header_texts(raw), contents(raw)
    payload: dict[str, Any] = {
        "id": message.id,
        "rcpt_to": message.rcpt_to,
        "mail_from": message.mail_from,
        "token": message.token,
        "subject": message.subject,
        "message_id": message.message_id,
        "timestamp": to_ms(message.accepted_at) / 1000,
        "size": str(len(raw)),
        "spam_status": message.spam_status.value,
        "bounce": message.bounce,
        "received_with_ssl": message.origin.via.over_tls,
        "to": _last(headers, "to"),
        "cc": _last(headers, "cc"),
        "from": _last(headers, "from"),
        "date": _last(headers, "date"),
        "in_reply_to": _last(headers, "in-reply-to"),
        "references": _last(headers, "references"),
        "html_body": read.html,
        "attachment_quantity": len(read.attachments),
        "auto_submitted": _last(headers, "auto-submitted"),
        "reply_to": headers.get("reply-to"),
    }
    if target.strip_replies:
        payload["plain_body"], payload["replies_from_plain_body"] = separate(read.plain)
    else:
        payload["plain_body"] = read.plain
    if target.attachments:
        payload["attachments"] = _attachments(read)
    return payload


def _last(headers: Mapping[str, Sequence[str]], name: str) -> str | None:
    found = headers.get(name)
    return found[-1] if found else None


def _attachments(read: Contents) -> Sequence[dict[str, Any]]:
    return [
        {
            "filename": each.filename or None,
            "content_type": each.content_type,
            "size": len(each.content),
            "data": _base64(each.content),
        }
        for each in read.attachments
    ]


def _base64(content: bytes) -> str:
    """Return base64 as Ruby's Base64.encode64 writes it."""
    text = base64.b64encode(content).decode()
    return "".join(f"{text[at : at + BASE64_LINE]}\n" for at in range(0, len(text), BASE64_LINE))


def _form(payload: Mapping[str, Any]) -> str:
    """Return the payload as Ruby's URI.encode_www_form writes it: null is a name alone, a list its values in turn."""
    pairs: list[tuple[str, Any]] = []
    for name, value in payload.items():
        if name == "attachments":
            pairs += [
                (f"attachments[{at}][{key}]", each) for at, file in enumerate(value) for key, each in file.items()
            ]
        elif isinstance(value, list):
            pairs += [(name, each) for each in value]
        else:
            pairs.append((name, value))
    return "&".join(_pair(name, value) for name, value in pairs)


def _pair(name: str, value: object) -> str:
    if value is None:
        return _quoted(name)
    return f"{_quoted(name)}={_quoted(str(value).lower() if isinstance(value, bool) else str(value))}"


def _quoted(text: str) -> str:
    return quote_plus(text, safe="*", errors="replace").replace("~", "%7E")
