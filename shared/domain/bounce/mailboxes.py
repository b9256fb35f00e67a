"""Addresses as reports write them: in angle brackets, with ``SMTP:``, with a name, or bare."""

import re

from shared.domain.addresses import checked
from shared.domain.errors import InvalidValue

_BARE = r"[^\s<>()\[\]\"',;:@\\]{1,64}@(?:[\w-]{1,63}\.){1,10}[\w-]{2,63}"
ADDRESS = re.compile(rf"(?<![\w.+@-])({_BARE})(?![\w@])")
"""An address anywhere in a line; a full stop after it belongs to the sentence."""

_EXPLICIT = re.compile(r"(?<![\w.+@-])([^\s<>()\[\]\"',;:@\\]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,10})(?![\w@])")
"""Where a format says that an address must stand, its domain may have any form: ``localhost``, a TLD of one letter."""

_QUOTED = re.compile(r'<?("[^"\\<>\r\n]{1,62}"@[\w.-]{1,253})>?\s*\Z')
_PREFIX = re.compile(r"(?:smtp|mailto|rfc822|internet|imceaex)\s*[:;]\s*", re.IGNORECASE)

NEVER_RECIPIENTS = ("mailer-daemon@", "mailerdaemon@", "mail-daemon@")


def mailbox(text: str) -> str:
    """Return the one address of a text, its domain in lower case; an empty string if there is none."""
    text = _PREFIX.sub("", text.strip()[:600], count=1).strip()
    quoted = _QUOTED.match(text)
    found = quoted or _EXPLICIT.search(text)
    return _checked(found[1]) if found else ""


def mailboxes(line: str) -> list[str]:
    """Return all addresses of a line in their order."""
    return [address for found in ADDRESS.finditer(line) if (address := _checked(found[1]))]


def _checked(address: str) -> str:
    # X.400 gateways write dda:SMTP=user@example.com.
    address = address[5:] if address[:5].lower() == "smtp=" else address
    try:
        good = checked(address)
    except InvalidValue:
        return ""
    return "" if good.lower().startswith(NEVER_RECIPIENTS) else good
