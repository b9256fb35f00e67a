"""From what a host said to why: code, category and type of one failed recipient.

A status field that says something is believed; a generic one (``5.0.0``) gives way to
a code in the host's own words.  The category comes from a telling code, else from
the words, else from the code.
"""

import re
from dataclasses import dataclass

from shared.domain.bounce.codes import (
    ABOUT_RECIPIENT,
    CATEGORIES,
    GENERIC,
    TELLING,
    code_for,
    detail_of,
    enhanced_codes,
    most_telling,
    reply_class,
    type_of,
)
from shared.domain.bounce.phrases import PHRASES
from shared.domain.bounce.report import MAX_DIAGNOSTIC, BounceType, Category
from shared.domain.headers import on_one_line

MAX_JUDGED = 1500
"""Characters of a host's words that are looked at: phrases take linear time each, and there are many."""

PERMANENT = "5.0.0"

_SPACES = re.compile(r"\s+")
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]{1,100}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,10}|https?://\S{1,300}")
_ABOUT_SENDER = re.compile(
    r"(after|in reply to) (the )?(initial connection|connect|helo|ehlo|mail from|starttls|end of data)\b", re.IGNORECASE
)
"""Where a host refused before it heard of the recipient, or everything; Exim and Postfix say so."""

_HOST = re.compile(r"\bhost \S{1,255}\s?\[[^\[\]\s]{1,60}\]|smtp error from remote (mail server|mailer)", re.IGNORECASE)
"""Who refused: names of the reporting system, no words of the host."""

_REPLY_AGAIN = re.compile(r"(?<=\s)[245]\d\d[ -](?:[245]\.\d\.\d{1,3} )?")
"""A reply of several lines repeats its code in each (RFC 5321 §4.2.1), in the middle of a phrase."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why one recipient did not get the message."""

    code: str
    category: Category
    type: BounceType


def diagnose(words: str, *, status: str = "", hint: Category | None = None, permanent: bool = False) -> Diagnosis:
    """Return what the host's words and status mean.

    Args:
        words: the host's, of any length; only the beginning is judged.
        status: of the report's field, such as ``5.1.1``; empty for none.
        hint: what the format alone says, where the words say nothing.
        permanent: whether the notice calls the failure permanent: decides where nothing else tells the class.
    """
    said = words[:MAX_JUDGED]
    code = _better(status, most_telling(enhanced_codes(said)))
    category = _category(code, said, hint)
    if not code:
        code = code_for(category, reply_class(said)) or (PERMANENT if permanent else "")
    return Diagnosis(code, category, type_of(code, category))


def category_in(words: str) -> Category | None:
    """Return the category that the words name, or None."""
    # Names in addresses and links are no words of the host: spam@example.com is an ordinary recipient.
    plain = _HOST.sub(" ", words[:MAX_JUDGED])
    plain = _REPLY_AGAIN.sub("", _SPACES.sub(" ", _ADDRESS.sub(" ", plain))).replace("_", " ")
    return next((category for category, pattern in PHRASES if pattern.search(plain)), None)


def kept(words: str) -> str:
    """Return the words as they are stored: one line, bounded."""
    return _SPACES.sub(" ", on_one_line(words[: MAX_DIAGNOSTIC * 4])).strip()[:MAX_DIAGNOSTIC]


def _better(status: str, said: str) -> str:
    if not status or status.startswith("2"):
        return said or status
    return said if _telling(said) > _telling(status) else status


def _telling(code: str) -> int:
    """Return how much a code says: nothing, only the subject, or a detail."""
    detail = detail_of(code)
    if detail in ("", "0.0"):
        return 0
    return 1 if detail in GENERIC else 2


def _category(code: str, said: str, hint: Category | None) -> Category:
    detail = detail_of(code)
    known = CATEGORIES.get(detail)
    if known is not None and detail in TELLING:
        return known
    named = category_in(said) or hint or known or Category.OTHER
    before = _ABOUT_SENDER.search(said) if named in ABOUT_RECIPIENT else None
    if before is None:
        return named
    # Some hosts look the recipient up only when they have the whole message; its domain was found long before.
    late = before[3].lower() == "end of data"
    return named if late and named is not Category.DNS else Category.POLICY
