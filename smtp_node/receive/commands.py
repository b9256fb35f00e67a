"""The arguments of MAIL and RCPT: parsed strictly, or answered with a refusal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.addresses import checked
from shared.domain.errors import InvalidValue
from smtp_node.receive.replies import (
    BAD_PARAMETER,
    BAD_RECIPIENT,
    BAD_SENDER,
    EMPTY_RECIPIENT,
    UNKNOWN_PARAMETER,
    UTF8_NOT_ASKED,
    Reply,
    too_large,
)

# Angle brackets may be missing, as old scripts do; half of them may not.
_PATH = re.compile(r"(?:<([^<>]*)>|([^<>\s]+))(?:[ \t]+(.*))?\Z")
_MAIL_PARAMETERS: Mapping[str, re.Pattern[str]] = {
    # RFC 1870 §4 allows 20 digits; more are absurd rather than malformed, and too large anyway.
    "SIZE": re.compile(r"[0-9]{1,100}\Z"),
    "BODY": re.compile(r"(?:7BIT|8BITMIME)\Z", re.IGNORECASE),
    "SMTPUTF8": re.compile(r"\Z"),
    "AUTH": re.compile(r".+\Z"),
}
"""What MAIL may be given, and the form of each value; empty means that it has none."""

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?\Z")
"""RFC 5321 §4.1.2, esmtp-param."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A good MAIL command."""

    address: str
    """Checked, or empty for the null sender (RFC 5321 §4.5.5)."""

    utf8: bool


def parse_mail(argument: str, *, limit_bytes: int) -> Sender | Reply:
    """Return the sender in ``FROM:<a@b> SIZE=…``, or why not.

    SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531) and AUTH (RFC 4954 §5, not
    used) are known.  A SIZE below the real one changes nothing: the real size is what counts.
    """
    path = _path(argument, "FROM:")
    if path is None:
        return BAD_SENDER
    address, text = path
    parameters = _parameters(text)
    if parameters is None:
        return BAD_PARAMETER
    for name, value in parameters.items():
        form = _MAIL_PARAMETERS.get(name)
        if form is None:
            return UNKNOWN_PARAMETER
        if not form.match(value):
            return BAD_PARAMETER
    if int(parameters.get("SIZE", "0")) > limit_bytes:
        return too_large(limit_bytes)
    utf8 = "SMTPUTF8" in parameters
    if not address.isascii() and not utf8:
        return UTF8_NOT_ASKED
    try:
        return Sender(checked(address) if address else "", utf8)
    except InvalidValue:
        return BAD_SENDER


def parse_recipient(argument: str, *, utf8: bool, hostname: str = "localhost") -> str | Reply:
    """Return the checked address in ``TO:<a@b>``, or why not; no parameter is known.

    ``postmaster`` needs no domain (RFC 5321 §4.1.1.3): it is this host's.

    Source routes and address literals are refused, which RFC 5321 §4.1.1.3 and
    RFC 6409 §4.2 leave to us: only attacks use them.
    """
    path = _path(argument, "TO:")
    if path is None:
        return EMPTY_RECIPIENT if argument.strip().upper() == "TO:" else BAD_RECIPIENT
    address, parameters = path
    if not address:
        return EMPTY_RECIPIENT
    if parameters:
        return UNKNOWN_PARAMETER if _parameters(parameters) is not None else BAD_PARAMETER
    if not address.isascii() and not utf8:
        return UTF8_NOT_ASKED
    try:
        return checked(f"postmaster@{hostname}" if address.lower() == "postmaster" else address)
    except InvalidValue:
        return BAD_RECIPIENT


def _path(argument: str, keyword: str) -> tuple[str, str] | None:
    if argument[: len(keyword)].upper() != keyword:
        return None
    # RFC 5321 §3.3 allows no space after the colon; many clients send one.
    found = _PATH.match(argument[len(keyword) :].strip(" \t"))
    if found is None:
        return None
    in_angles, plain, parameters = found.groups()
    return (plain if in_angles is None else in_angles), parameters or ""


def _parameters(text: str) -> dict[str, str] | None:
    """Return values by name in capitals, empty where there is none; None if malformed or repeated."""
    found: dict[str, str] = {}
    for word in text.split():
        parameter = _PARAMETER.match(word)
        if parameter is None or parameter[1].upper() in found:
            return None
        found[parameter[1].upper()] = parameter[2] or ""
    return found
