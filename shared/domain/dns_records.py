"""The DNS records that the owner of a sending domain publishes."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.tenancy import DKIMKey, Domain

VERIFICATION_PREFIX = "edgepost-verification "
RETURN_PATH_LABEL = "psrp"
"""First label of a domain's own return path, as in Postal."""


@dataclass(frozen=True, slots=True)
class DNSRecord:
    """One record to publish, and what it is for."""

    type: str
    name: str
    """Whole name without final dot."""

    value: str
    purpose: str


def own_return_path(name: str) -> str:
    """Return the name under which bounces to mail of a domain may come back."""
    return f"{RETURN_PATH_LABEL}.{name}"


def ownership_value(domain: Domain) -> str:
    """Return the TXT value that proves that the domain's owner wants Edgepost to send for it."""
    return f"{VERIFICATION_PREFIX}{domain.verification_token}"


def dkim_record(domain: str, key: DKIMKey) -> tuple[str, str]:
    """Return name and value of a key's TXT record (RFC 6376 §3.6.1).

    The value is one text; a DNS server splits it into strings of 255 (RFC 1035 §3.3.14).
    """
    return f"{key.selector}._domainkey.{domain}", f"v=DKIM1; k={key.algorithm.value}; p={key.public}"


def records_to_publish(domain: Domain, *, hostname: str, return_path_domain: str) -> Sequence[DNSRecord]:
    """Return everything that must be published for a domain, the ownership record first.

    Args:
        domain: whose records.
        hostname: name whose A and AAAA records are the addresses that mail leaves from.
        return_path_domain: where bounces come back.
    """
    return (
        DNSRecord(
            "TXT",
            domain.name,
            ownership_value(domain),
            "Proves that the domain is yours. Needed before the first message; leave it in place.",
        ),
        *_dkim(domain),
        DNSRecord(
            # RFC 7208 §3.2: one SPF record for a name, so an existing one is extended, not doubled.
            "TXT",
            domain.name,
            f"v=spf1 a:{hostname} ~all",
            "SPF: lets this installation's addresses send for the domain. If the domain has a v=spf1 record already,"
            f" add a:{hostname} to it instead: there may be only one.",
        ),
        DNSRecord(
            # RFC 7489 §3.1.2: with it, the envelope sender is aligned with From.
            "CNAME",
            own_return_path(domain.name),
            return_path_domain,
            "Return path: bounces come back under your own domain, so that SPF counts for DMARC too. Used once"
            f" `edgepost domain verify {domain.name}` has seen it.",
        ),
        DNSRecord(
            # RFC 7489 §6.3; p=none changes nothing for mail that others send in the domain's name.
            "TXT",
            f"_dmarc.{domain.name}",
            f"v=DMARC1; p=none; rua=mailto:postmaster@{domain.name},mailto:dmarc@{return_path_domain}",
            "DMARC: Gmail and Yahoo ask bulk senders for it. p=none only watches; once the reports, which come to the"
            " rua addresses, show only mail of yours, change it to quarantine. Keep a DMARC record you already have.",
        ),
    )


def _dkim(domain: Domain) -> Sequence[DNSRecord]:
    found: list[DNSRecord] = []
    for key in domain.keys:
        name, value = dkim_record(domain.name, key)
        found.append(
            DNSRecord(
                "TXT",
                name,
                value,
                f"DKIM key ({key.algorithm.value}): receivers check the signature of every message with it.",
            )
        )
    return tuple(found)
