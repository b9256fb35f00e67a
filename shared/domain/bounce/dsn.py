"""Delivery status notifications: RFC 3464 (and RFC 6533 for addresses beyond ASCII).

A report says for each recipient what was done.  Nothing is guessed here: a block
without a recipient, or without an action and a status, says nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from shared.domain.bounce.codes import status_of
from shared.domain.bounce.diagnosis import diagnose, kept
from shared.domain.bounce.mailboxes import mailbox
from shared.domain.bounce.report import Action, BounceType, RecipientReport

MAX_RECIPIENTS = 100
"""Each of our messages has one; a report about hundreds is about somebody else's mail."""

MAX_BLOCKS = 200
MAX_VALUE = 4000

_BLOCKS = re.compile(r"\n[ \t]*\n")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]*(.*)")
_REPLY_LINE = re.compile(r"[245]\d\d[ -]")
_ACTIONS = (
    ("fail", Action.FAILED),
    ("expired", Action.FAILED),  # no action of RFC 3464, but SendGrid's
    ("delay", Action.DELAYED),
    ("deliver", Action.DELIVERED),
    ("relay", Action.RELAYED),
    ("expand", Action.EXPANDED),
)
_BY_CLASS = {"2": Action.DELIVERED, "4": Action.DELAYED, "5": Action.FAILED}
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def read_statuses(parts: Sequence[bytes], words: str) -> Sequence[RecipientReport]:
    """Return what the message/delivery-status parts say, each recipient once.

    Args:
        parts: the bodies of the parts.
        words: the text for people, asked where a block has no diagnostic.
    """
    found: dict[tuple[str, Action], RecipientReport] = {}
    for part in parts:
        for block in _blocks(part):
            report = _report(block, words)
            if report is not None:
                found.setdefault((report.recipient.lower(), report.action), report)
                if len(found) >= MAX_RECIPIENTS:
                    return list(found.values())
    return list(found.values())


def _blocks(part: bytes) -> Iterator[Mapping[str, str]]:
    """Yield the groups of fields; the first is about the message (RFC 3464 §2.2)."""
    text = part.decode("utf-8", "replace").replace("\r\n", "\n")
    for number, block in enumerate(_BLOCKS.split(text)):
        if number == MAX_BLOCKS:
            return
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            # Some hosts do not indent the second line of a reply.
            if name and (line[:1] in (" ", "\t") or (name == "diagnostic-code" and _REPLY_LINE.match(line))):
                fields[name] = f"{fields[name]} {line.strip()}"[:MAX_VALUE]
            elif match := _FIELD.match(line):
                name = match[1].lower()
                # Some hosts run several recipients together without an empty line between them.
                if name in ("final-recipient", "original-recipient") and name in fields:
                    yield fields
                    fields = {}
                fields[name] = match[2].strip()[:MAX_VALUE]
            else:
                name = ""
        yield fields


def _report(fields: Mapping[str, str], words: str) -> RecipientReport | None:
    final = _recipient(fields.get("final-recipient", "")) or _recipient(fields.get("x-actual-recipient", ""))
    original = _recipient(fields.get("original-recipient", ""))
    status = status_of(fields.get("status", ""))
    action = _action(fields.get("action", ""), status)
    if not (final or original) or action is None:
        return None
    diagnostic = _diagnostic(fields.get("diagnostic-code", ""))
    if action not in (Action.FAILED, Action.DELAYED):
        return RecipientReport(original or final, action, code=status, diagnostic=kept(diagnostic))
    about = diagnostic or _after(final or original, words)
    judged = diagnose(about or words, status=status)
    return RecipientReport(
        recipient=original or final,
        action=action,
        type=judged.type if action is Action.FAILED else BounceType.SOFT,
        code=judged.code,
        category=judged.category,
        diagnostic=kept(about),
        final_recipient=final if original and final.lower() != original.lower() else "",
    )


def _action(value: str, status: str) -> Action | None:
    word = value.strip().lower()
    named = next((action for start, action in _ACTIONS if word.startswith(start)), None)
    return named or (None if word else _BY_CLASS.get(status[:1]))


def _recipient(value: str) -> str:
    """Return the address of ``rfc822; user@example.com``; the type may be missing."""
    kind, semicolon, address = value.partition(";")
    if not semicolon:
        address = kind
    elif kind.strip().lower() == "utf-8":
        address = _UTF8_ESCAPE.sub(_unescaped, address)
    return mailbox(address)


def _unescaped(escape: re.Match[str]) -> str:
    number = int(escape[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "�"


def _diagnostic(value: str) -> str:
    kind, semicolon, text = value.partition(";")
    return text.strip() if semicolon and " " not in kind.strip() else value.strip()


def _after(recipient: str, words: str) -> str:
    """Return what the text says after naming the recipient, or an empty string."""
    at = words.lower().find(recipient.lower())
    return words[at + len(recipient) :].lstrip(">):; \n") if at >= 0 else ""
