"""RFC 3463 status codes: found in texts, and what each means.

The detail decides the category, the class whether it is permanent.  Codes of the
IANA registry "SMTP Enhanced Status Codes" are all here.
"""

import re

from shared.domain.bounce.report import BounceType, Category

GENERIC = frozenset({"0.0", "5.0", "7.0", "3.0", "2.0", "4.0", "1.0", "6.0"})
"""Details that say no more than their subject."""

CATEGORIES = {
    "1.1": Category.UNKNOWN_USER,
    "1.2": Category.DNS,
    "1.3": Category.UNKNOWN_USER,
    "1.4": Category.UNKNOWN_USER,
    "1.6": Category.MOVED,
    "1.7": Category.POLICY,
    "1.8": Category.POLICY,
    "1.9": Category.PROTOCOL,
    "1.10": Category.DNS,
    "2.0": Category.OTHER,
    "2.1": Category.MAILBOX_DISABLED,
    "2.2": Category.MAILBOX_FULL,
    "2.3": Category.TOO_LARGE,
    "2.4": Category.SYSTEM,
    "3.0": Category.SYSTEM,
    "3.1": Category.SYSTEM,
    "3.2": Category.SYSTEM,
    "3.3": Category.PROTOCOL,
    "3.4": Category.TOO_LARGE,
    "3.5": Category.SYSTEM,
    "3.6": Category.SYSTEM,
    "4.0": Category.CONNECTION,
    "4.1": Category.CONNECTION,
    "4.2": Category.CONNECTION,
    "4.3": Category.DNS,
    "4.4": Category.DNS,
    "4.5": Category.CONNECTION,
    "4.6": Category.LOOP,
    "4.7": Category.EXPIRED,
    "5.0": Category.PROTOCOL,
    "5.1": Category.PROTOCOL,
    "5.2": Category.PROTOCOL,
    "5.3": Category.RATE_LIMITED,
    "5.4": Category.PROTOCOL,
    "5.5": Category.PROTOCOL,
    "5.6": Category.PROTOCOL,
    "6.0": Category.PROTOCOL,
    "6.1": Category.PROTOCOL,
    "6.2": Category.PROTOCOL,
    "6.3": Category.PROTOCOL,
    "6.4": Category.PROTOCOL,
    "6.5": Category.PROTOCOL,
    "6.6": Category.PROTOCOL,
    "6.7": Category.PROTOCOL,
    "6.8": Category.PROTOCOL,
    "6.9": Category.PROTOCOL,
    "6.10": Category.PROTOCOL,
    "7.0": Category.POLICY,
    "7.1": Category.POLICY,
    "7.2": Category.POLICY,
    "7.3": Category.POLICY,
    "7.4": Category.POLICY,
    "7.5": Category.POLICY,
    "7.6": Category.POLICY,
    "7.7": Category.POLICY,
    "7.8": Category.RELAY_DENIED,
    "7.9": Category.RELAY_DENIED,
    "7.10": Category.POLICY,
    "7.11": Category.POLICY,
    "7.12": Category.POLICY,
    "7.13": Category.MAILBOX_DISABLED,
    "7.14": Category.POLICY,
    "7.15": Category.POLICY,
    "7.16": Category.POLICY,
    "7.17": Category.MOVED,
    "7.18": Category.MOVED,
    "7.19": Category.POLICY,
    "7.20": Category.AUTHENTICATION,
    "7.21": Category.AUTHENTICATION,
    "7.22": Category.AUTHENTICATION,
    "7.23": Category.AUTHENTICATION,
    "7.24": Category.AUTHENTICATION,
    "7.25": Category.AUTHENTICATION,
    "7.26": Category.AUTHENTICATION,
    "7.27": Category.POLICY,
    "7.28": Category.RATE_LIMITED,
    "7.29": Category.AUTHENTICATION,
    "7.30": Category.POLICY,
}

TELLING = frozenset({"1.1", "2.2", "3.4", "4.6", "4.7", "7.20", "7.26", "7.28"})
"""Details that no text overrules; others are used loosely by hosts, so their text is asked first."""

ALWAYS_SOFT = frozenset({Category.MAILBOX_FULL, Category.RATE_LIMITED, Category.EXPIRED})
"""Whatever the class says: hosts give 5.2.2 to a mailbox that is empty again tomorrow."""

ABOUT_RECIPIENT = frozenset(
    {Category.UNKNOWN_USER, Category.MAILBOX_DISABLED, Category.MOVED, Category.DNS, Category.MAILBOX_FULL}
)
"""What no host can say of a recipient that it has not heard of."""

PERMANENT_ADDRESS = frozenset({Category.UNKNOWN_USER, Category.MAILBOX_DISABLED, Category.MOVED})
"""Hard bounces of these say that the address itself will never work."""

_CODE_OF_CATEGORY = {
    Category.UNKNOWN_USER: "5.1.1",
    Category.MAILBOX_DISABLED: "5.2.1",
    Category.MAILBOX_FULL: "4.2.2",
    Category.MOVED: "5.1.6",
    Category.DNS: "5.1.2",
    Category.CONNECTION: "4.4.1",
    Category.EXPIRED: "4.4.7",
    Category.POLICY: "5.7.1",
    Category.SPAM_BLOCK: "5.7.1",
    Category.VIRUS: "5.7.1",
    Category.AUTHENTICATION: "5.7.1",
    Category.RELAY_DENIED: "5.7.1",
    Category.RATE_LIMITED: "4.7.28",
    Category.TOO_LARGE: "5.3.4",
    Category.LOOP: "5.4.6",
    Category.PROTOCOL: "5.5.0",
    Category.SYSTEM: "5.3.0",
}

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d)\.(\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"(?<![\d.:/-])([45]\d\d)(?=[ -])")
_STATUS = re.compile(r"\s*([245])\s?\.\s?(\d{1,3})\s?\.\s?(\d{1,3})")


def status_of(value: str) -> str:
    """Return the code that a ``Status`` field begins with (RFC 3464 §2.3.4), or an empty string."""
    found = _STATUS.match(value)
    return ".".join(str(int(part)) for part in found.groups()) if found else ""


def enhanced_codes(text: str) -> list[str]:
    """Return the status codes of a text in their order; no IP addresses, no version numbers of four parts."""
    return [".".join(found.groups()) for found in _ENHANCED.finditer(text)]


def reply_class(text: str) -> str:
    """Return ``4`` or ``5``, the class of the first SMTP reply code of a text, or an empty string."""
    found = _REPLY.search(text)
    return found[1][0] if found else ""


def detail_of(code: str) -> str:
    """Return subject and detail: ``1.1`` of ``5.1.1``."""
    return code.partition(".")[2]


def most_telling(codes: list[str]) -> str:
    """Return the first code that says more than its subject, else the first, else an empty string."""
    failing = [code for code in codes if not code.startswith("2")]
    return next((code for code in failing if detail_of(code) not in GENERIC), failing[0] if failing else "")


def code_for(category: Category, its_class: str) -> str:
    """Return the code to use where a report gives none: the category's own, in the class that is known."""
    code = _CODE_OF_CATEGORY.get(category, "")
    if its_class and code:
        return its_class + code[1:]
    return code or (f"{its_class}.0.0" if its_class else "")


def type_of(code: str, category: Category) -> BounceType:
    """Return whether the address may work another day."""
    if category in ALWAYS_SOFT:
        return BounceType.SOFT
    match code[:1]:
        case "5":
            return BounceType.HARD
        case "4":
            return BounceType.SOFT
        case _:
            return BounceType.UNDETERMINED
