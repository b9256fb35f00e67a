"""What a remote host's SMTP reply means for the message: a pure table.

===========================  ==================  ==========================================
where                        reply               verdict
===========================  ==================  ==========================================
anywhere                     421                 temporary, and the connection is over
greeting, EHLO, STARTTLS     anything but 2yz    temporary: another host may take the mail
AUTH                         anything but 2yz    temporary: the operator's fault, not the mail's
MAIL, RCPT                   2yz                 go on
DATA                         354                 go on
final dot                    2yz                 accepted: the remote took responsibility
MAIL, RCPT, DATA, final dot  4yz                 temporary
MAIL, RCPT, DATA, final dot  5yz                 permanent
anywhere                     any other code      temporary: not knowing is temporary
===========================  ==================  ==========================================

The code decides, never the text: ``250 5.7.1 …`` is a success (RFC 5321 §4.2).
Postal takes 50y and 53y for temporary because Ruby's Net::SMTP sorts them so;
RFC 5321 §4.2.1 says permanent, and so do we.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_OUTPUT = 512
"""Characters of a reply that are kept with a delivery."""

MAX_REPLY_LINES = 100

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")


class Stage(StrEnum):
    """The command that a reply answers; ``GREETING`` answers none."""

    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "final dot"


class Verdict(StrEnum):
    """What to do after a reply."""

    GO_ON = "go on"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


ABOUT_THE_MAIL = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT})
"""Stages at which a 5yz speaks of this message; before them it speaks of us or of the host."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a remote host: its code, and its lines without code, joined by LF."""

    code: int
    text: str

    @property
    def enhanced_code(self) -> str:
        """The status code that the text starts with (RFC 2034 §4), or an empty string."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else ""

    @property
    def closing(self) -> bool:
        """Whether the host is about to close the connection (RFC 5321 §3.8)."""
        return self.code == 421

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()[:MAX_OUTPUT]


def judge(reply: Reply, stage: Stage) -> Verdict:
    """Return what the reply at that stage means, by the table above."""
    expected = reply.code == 354 if stage is Stage.DATA else 200 <= reply.code <= 299
    if expected:
        return Verdict.GO_ON
    if 500 <= reply.code <= 599 and stage in ABOUT_THE_MAIL:
        return Verdict.PERMANENT
    return Verdict.TEMPORARY


def readable(text: str) -> str:
    """Return a remote's text safe to store and to show.

    Bytes that were no UTF-8 become U+FFFD, control characters become spaces, line
    ends become LF; at most ``MAX_REPLY_LINES`` lines.

    Args:
        text: decoded as UTF-8 with ``surrogateescape``.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    decoded = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:MAX_REPLY_LINES]
    return "\n".join("".join(char if char.isprintable() else " " for char in line).strip() for line in lines)
