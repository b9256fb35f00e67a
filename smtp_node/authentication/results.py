"""What checking an incoming mail found, and the field that states it (RFC 8601).

A field that claims to be ours but came with the mail is removed first (RFC 8601 §5):
whoever reads our field must be able to believe it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.headers import Head

FIELD = b"Authentication-Results"
LINE_LENGTH = 76

_COMMENT = re.compile(rb"\([^()]{0,500}\)")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~@=/-]{1,320}\Z")
"""RFC 8601 §2.2 takes tokens of RFC 2045 and, in a property, a whole address; we quote what holds anything else."""


class Verdict(StrEnum):
    """Results of the IANA registry "Email Authentication Result Names"."""

    NONE = "none"
    PASS = "pass"  # noqa: S105  # a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SPFResult:
    """RFC 7208: may this host send for that domain?"""

    verdict: Verdict
    domain: str = ""
    """The domain that was asked: of the envelope sender, else of HELO."""

    mail_from: str = ""
    helo: str = ""


@dataclass(frozen=True, slots=True)
class DKIMResult:
    """RFC 6376: one signature."""

    verdict: Verdict
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    signature: str = ""
    """The first eight characters of ``b=`` (RFC 6008)."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class DMARCResult:
    """RFC 9989: is the author's domain the one that was proved?"""

    verdict: Verdict
    domain: str = ""
    """Of the From field."""

    policy: str = ""
    """What the domain asks for: none, quarantine or reject."""


@dataclass(frozen=True, slots=True)
class ARCResult:
    """RFC 8617: the chain of hosts that forwarded the mail."""

    verdict: Verdict
    domain: str = ""
    """Who sealed last."""

    instances: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """All checks of one mail."""

    spf: SPFResult = field(default_factory=lambda: SPFResult(Verdict.NONE))
    dkim: Sequence[DKIMResult] = ()
    dmarc: DMARCResult = field(default_factory=lambda: DMARCResult(Verdict.NONE))
    arc: ARCResult = field(default_factory=lambda: ARCResult(Verdict.NONE))

    def to_text(self, authserv_id: str) -> str:
        """Return the value of the Authentication-Results field (RFC 8601 §2.2) on one line."""
        return "; ".join([authserv_id, *self._lines()])

    def to_field(self, authserv_id: str) -> bytes:
        """Return the Authentication-Results field with its CRLF (RFC 8601 §2.2)."""
        text = ";\r\n ".join(self._lines())
        return FIELD + b": " + authserv_id.encode("ascii", "replace") + b";\r\n " + text.encode("utf-8") + b"\r\n"

    def _lines(self) -> Sequence[str]:
        lines = [_spf(self.spf), *map(_dkim, self.dkim), _dmarc(self.dmarc), _arc(self.arc)]
        if not self.dkim:
            lines.insert(1, "dkim=none")
        return [line for line in lines if line]


def without_forged(raw: bytes, head: Head, authserv_id: str) -> bytes:
    """Return the message without fields that claim to be from us; all else stays byte for byte."""
    kept = [each.raw for each in head.fields if not (each.key == FIELD.lower() and _claims(each.value, authserv_id))]
    if len(kept) == len(head.fields):
        return raw
    return b"".join(kept) + b"\r\n" + raw[head.body_at :]


def _claims(value: bytes, authserv_id: str) -> bool:
    """Whether the field's authserv-id is ours, however it is spelt: with comments, quoted, with a version."""
    before = value
    while (stripped := _COMMENT.sub(b" ", before)) != before:
        before = stripped
    words = before.partition(b";")[0].replace(b'"', b" ").replace(b"\\", b"").split()
    own = authserv_id.lower().encode("ascii", "replace")
    # An id that cannot be read could be read as ours by somebody else.
    return not words or words[0].lower().rstrip(b".") == own or b"(" in words[0]


def _spf(result: SPFResult) -> str:
    line = f"spf={result.verdict.value}"
    if result.mail_from:
        return f"{line} smtp.mailfrom={_value(result.mail_from)}"
    return f"{line} smtp.helo={_value(result.helo)}" if result.helo else line


def _dkim(result: DKIMResult) -> str:
    line = f"dkim={result.verdict.value}"
    if result.reason:
        line += f" reason={_quoted(result.reason)}"
    properties = (
        ("d", result.domain),
        ("s", result.selector),
        ("a", result.algorithm),
        ("b", result.signature),
    )
    return line + "".join(f" header.{name}={_value(value)}" for name, value in properties if value)


def _dmarc(result: DMARCResult) -> str:
    line = f"dmarc={result.verdict.value}"
    if result.policy:
        line += f" policy.published-domain-policy={_value(result.policy)}"
    return f"{line} header.from={_value(result.domain)}" if result.domain else line


def _arc(result: ARCResult) -> str:
    line = f"arc={result.verdict.value}"
    return f"{line} (i={result.instances} {_comment(result.domain)})" if result.instances else line


def _comment(text: str) -> str:
    return "".join(char for char in text[:100] if char.isalnum() or char in ".-_")


def _value(text: str) -> str:
    return text if _TOKEN.match(text) else _quoted(text)


def _quoted(text: str) -> str:
    plain = "".join(char if char.isprintable() and char not in '"\\' else "?" for char in text[:200])
    return f'"{plain}"'
