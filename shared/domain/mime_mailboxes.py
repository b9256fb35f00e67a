"""Addresses with display names, as applications write them: ``"Doe, Jane" <jane@example.com>``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.addresses import checked
from shared.domain.errors import InvalidValue
from shared.domain.headers import LINE_ENDING

MAX_LIST_LENGTH = 100_000
MAX_MAILBOX_LENGTH = 1000

_IN_ANGLES = re.compile(r"([^<>]*)<([^<>]*)>\Z")
_WITH_COMMENT = re.compile(r"([^()]*)\(([^()]*)\)\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address and the name shown with it."""

    name: str
    """Plain text, without quotes; may be empty."""

    address: str
    """Checked: safe in a header and in an SMTP command."""

    written: str
    """The bare address as it was given: the key of Postal's answers."""


def mailbox(text: str) -> Mailbox:
    """Return the one mailbox in ``Name <a@b>``, ``a@b (Name)`` or ``a@b``.

    Raises:
        InvalidValue: there is not exactly one address, or a control character.
    """
    if len(text) > MAX_MAILBOX_LENGTH:
        raise InvalidValue("the address is too long")
    if LINE_ENDING.search(text):
        raise InvalidValue("an address must not contain line breaks or control characters")
    stripped = text.strip()
    name, written = "", stripped
    if found := _IN_ANGLES.match(stripped):
        name, written = found[1].strip(), found[2].strip()
    elif found := _WITH_COMMENT.match(stripped):
        written, name = found[1].strip(), found[2].strip()
    if quoted := _QUOTED.match(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    return Mailbox(name, checked(written), written)


def split_list(text: str) -> Sequence[str]:
    """Return the entries of a comma-separated list, blank ones left out.

    A comma inside quotes, comments or angle brackets separates nothing (Postal
    splits there too and so breaks quoted names).

    Raises:
        InvalidValue: the list is too long.
    """
    if len(text) > MAX_LIST_LENGTH:
        raise InvalidValue("the list of addresses is too long")
    entries = _split(text) if re.search(r'["(<]', text) else text.split(",")
    return [entry.strip() for entry in entries if entry.strip()]


def _split(text: str) -> Sequence[str]:
    entries: list[str] = []
    start, depth = 0, 0
    quoted = escaped = angled = False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\" and (quoted or depth):
            escaped = True
        elif char == '"' and not depth:
            quoted = not quoted
        elif quoted:
            continue
        elif char in "()":
            depth = max(0, depth + (1 if char == "(" else -1))
        elif depth:
            continue
        elif char in "<>":
            angled = char == "<"
        elif char == "," and not angled:
            entries.append(text[start:at])
            start = at + 1
    return [*entries, text[start:]]
