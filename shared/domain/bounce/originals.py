"""Names of our own message in what was returned: hints by which a bounce without its address is matched.

Only the head of the returned message is looked at, never the text for people: whoever
answers a mail may quote a header of it.
"""

import re
from collections.abc import Sequence

from shared.domain.bounce.report import Originals

MAX_NAMES = 20

_MESSAGE_ID = re.compile(rb"^(?:X-)?(?:Original-)?Message-ID:\s{0,5}<([^<>\s]{1,250})>", re.IGNORECASE | re.MULTILINE)
_TOKEN = re.compile(rb"^X-Postal-MsgID:\s{0,5}([A-Za-z0-9]{1,32})\s*$", re.IGNORECASE | re.MULTILINE)
_REPORT = re.compile(rb"^X-Edgepost-Report:\s{0,5}([A-Za-z0-9]{1,64})\s*$", re.IGNORECASE | re.MULTILINE)
_RETURN_PATH = re.compile(rb"^Return-Path:\s{0,5}<?([A-Za-z0-9]{32,40})@", re.IGNORECASE | re.MULTILINE)
"""What was delivered has its envelope sender there (RFC 5321 §4.4), and so our token too."""

_ENVELOPE_ID = re.compile(rb"^Original-Envelope-Id:\s{0,5}([A-Za-z0-9]{32,40})\s*$", re.IGNORECASE | re.MULTILINE)
"""What we gave with MAIL (RFC 3464 §2.2.1), for reports that return nothing of the message."""


def read_originals(returned: Sequence[bytes], statuses: Sequence[bytes] = ()) -> Originals:
    """Return the names in the heads of returned messages and in the reports' fields, each once."""
    heads = [_head(each) for each in returned]
    return Originals(
        message_ids=_texts(_MESSAGE_ID, heads),
        tokens=_texts(_TOKEN, heads),
        report_tokens=(*_texts(_REPORT, heads), *_texts(_RETURN_PATH, heads), *_texts(_ENVELOPE_ID, statuses)),
    )


def head_text(returned: bytes) -> str:
    """Return the head of a returned message, LF line ends."""
    return _head(returned).decode("utf-8", "replace").replace("\r\n", "\n")


def _head(returned: bytes) -> bytes:
    return returned.lstrip(b"\r\n").partition(b"\r\n\r\n")[0]


def _texts(pattern: re.Pattern[bytes], heads: Sequence[bytes]) -> Sequence[str]:
    found = {match[1].decode("utf-8", "replace"): None for head in heads for match in pattern.finditer(head)}
    return tuple(found)[:MAX_NAMES]
