"""SPF (RFC 7208) with pyspf, the reference implementation, over our own resolver.

pyspf's ``query`` asks the DNS in one method, which is replaced here; its limits (ten
terms that look up, two that find nothing, ten MX or PTR names) stay its own.
"""

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

import spf

from shared.domain.addresses import domain_name
from shared.domain.dns import LookupFailed
from shared.domain.errors import InvalidValue
from smtp_node.authentication.lookups import Lookups
from smtp_node.authentication.results import SPFResult, Verdict

log = logging.getLogger(__name__)

_VERDICTS = {
    "none": Verdict.NONE,
    "neutral": Verdict.NEUTRAL,
    "pass": Verdict.PASS,
    "fail": Verdict.FAIL,
    "softfail": Verdict.SOFTFAIL,
    "temperror": Verdict.TEMPERROR,
    "permerror": Verdict.PERMERROR,
}


def check_spf(address: str, helo: str, mail_from: str, lookups: Lookups) -> SPFResult:
    """Return whether the client may send for the envelope sender's domain, or for HELO's if that is empty.

    Args:
        address: of the client.
        helo: as the client said it.
        mail_from: envelope sender; empty for bounces (RFC 7208 §2.4: then HELO is checked).
        lookups: the DNS for this mail; call it from a thread.
    """
    domain = _domain(mail_from.rpartition("@")[2] if mail_from else helo)
    if not domain:
        return SPFResult(Verdict.NONE, "", mail_from, helo)
    query = _Query(str(ipaddress.ip_address(address)), mail_from or f"postmaster@{domain}", domain, lookups)
    try:
        verdict = _VERDICTS.get(query.check()[0], Verdict.PERMERROR)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, UnicodeError) as exc:
        # Records are strangers' text: what the library stumbles over is a broken record (RFC 7208 §2.6.7).
        log.info("spf_record_unreadable", extra={"error": type(exc).__name__})
        verdict = Verdict.PERMERROR
    return SPFResult(verdict, domain, mail_from, helo)


def _domain(text: str) -> str:
    try:
        name = domain_name(text)
    except InvalidValue:
        return ""
    # RFC 7208 §4.3: a name without a dot, or an address literal, has no policy.
    return name if "." in name else ""


# Any: pyspf ships no types.
class _Query(spf.query):  # type: ignore[misc]  # no types: its base is Any
    """pyspf's check of one mail, asking our resolver."""

    def __init__(self, address: str, sender: str, helo: str, lookups: Lookups) -> None:
        super().__init__(i=address, s=sender, h=helo, strict=True)
        self._lookups = lookups

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> Sequence[Any]:  # noqa: ANN401, ARG002, FBT001, FBT002 - pyspf's signature
        """Return what pyspf expects of each kind of record; aliases were followed by the resolver."""
        name = str(name).rstrip(".").lower()
        if not name or any(not 0 < len(label) < 64 for label in name.split(".")):
            return []
        try:
            found = self._ask(name, qtype)
        except LookupFailed as exc:
            raise spf.TempError(f"DNS {exc}") from exc
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        return found

    def _ask(self, name: str, qtype: str) -> Sequence[Any]:
        match qtype:
            case "TXT" | "SPF":
                return [(text.encode("utf-8"),) for text in self._lookups.txt(name)] if qtype == "TXT" else []
            case "A" | "AAAA":
                return list(self._lookups.addresses(name, ipv6=qtype == "AAAA"))
            case "MX":
                return list(self._lookups.mx(name))
            case "PTR":
                return list(self._lookups.pointer(_address_of(name)))
        return []


def _address_of(name: str) -> str:
    """Return the address whose reverse name this is."""
    if name.endswith(".in-addr.arpa"):
        return ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
    digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
    return ":".join(digits[at : at + 4] for at in range(0, len(digits), 4))
