"""Whether the records found for a sending domain are the right ones, with a sentence for people if not."""

from collections.abc import Sequence

from shared.domain.dns_check import MAX_ERROR, DNSStatus, Finding, Record
from shared.domain.dns_records import dkim_record, own_return_path
from shared.domain.spf_terms import is_spf
from shared.domain.tenancy import DKIMKey, Domain

MAX_SHOWN = 5
MAX_SHOWN_LENGTH = 120


def shown(texts: Sequence[str]) -> str:
    """Return texts of a stranger's DNS, short and in one line."""
    short = [ascii(text[:MAX_SHOWN_LENGTH]) for text in texts[:MAX_SHOWN]]
    return ", ".join(short) + (", …" if len(texts) > MAX_SHOWN else "")


def missing(record: Record, error: str, *, selector: str = "") -> Finding:
    """Return that a record is not there."""
    return Finding(record, DNSStatus.MISSING, error[:MAX_ERROR], selector)


def invalid(record: Record, error: str, *, selector: str = "") -> Finding:
    """Return that a record is there and wrong."""
    return Finding(record, DNSStatus.INVALID, error[:MAX_ERROR], selector)


def spf_finding(domain: Domain, found: Sequence[str], hostname: str) -> Finding | str:
    """Return what is wrong with the SPF record, or the one record that must let us through."""
    records = [text for text in found if is_spf(text)]
    if not records:
        wanted = f"publish there a TXT record: v=spf1 a:{hostname} ~all"
        return missing(Record.SPF, f"{domain.name} has no SPF record; {wanted}")
    if len(records) > 1:
        # RFC 7208 §4.5: receivers then count none of them.
        return invalid(Record.SPF, f"{domain.name} has {len(records)} SPF records, of which only one may be there")
    return records[0]


def not_let_through(domain: Domain, record: str, hostname: str) -> Finding:
    """Return that an SPF record does not let this installation's addresses send."""
    return invalid(
        Record.SPF,
        f"the SPF record of {domain.name} does not let this installation send; add a:{hostname} to it,"
        f" before its last word ({shown([record])})",
    )


def dkim_finding(domain: Domain, key: DKIMKey, found: Sequence[str]) -> Finding:
    """Return whether a key's record publishes that key (RFC 6376 §3.6.1)."""
    name, value = dkim_record(domain.name, key)
    selector = key.selector
    publish = f"edgepost domain show {domain.name} prints what to publish"
    if not found:
        return missing(Record.DKIM, f"{name} has no TXT record; {publish}", selector=selector)
    if len(found) > 1:
        # RFC 6376 §3.6.2.2: what receivers do with several is undefined.
        return invalid(
            Record.DKIM, f"{name} has {len(found)} TXT records, of which only one may be there", selector=selector
        )
    if found[0] == value:
        return Finding(Record.DKIM, DNSStatus.OK, selector=selector)
    wrong = _wrong_tag(key, _tags(found[0]))
    if wrong:
        return invalid(Record.DKIM, f"the DKIM record {name} {wrong}; {publish} ({shown(found)})", selector=selector)
    return Finding(Record.DKIM, DNSStatus.OK, selector=selector)


def _tags(text: str) -> dict[str, str]:
    """Return the tags of a tag list without white space (RFC 6376 §3.2)."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): "".join(value.split()) for name, sign, value in pairs if sign}


def _wrong_tag(key: DKIMKey, tags: dict[str, str]) -> str:
    """Return what a receiver would not take, or nothing; tags that are left out have defaults."""
    if tags.get("v", "DKIM1") != "DKIM1":
        return "is of another version"
    if "p" not in tags:
        return "has no key in it"
    if not tags["p"]:
        return "says that the key is revoked"
    if tags["p"] != key.public:
        return "has another key, or a part of it"
    if tags.get("k", "rsa").lower() != key.algorithm.value:
        return f"names another kind of key than {key.algorithm.value}"
    if "sha256" not in tags.get("h", "sha256").lower().split(":"):
        return "does not allow SHA-256"
    if not {"*", "email"} & set(tags.get("s", "*").lower().split(":")):
        return "is not for e-mail"
    return ""


def return_path_finding(domain: Domain, target: str | None, return_path_domain: str) -> Finding:
    """Return whether the domain's own return path is an alias of ours."""
    name = own_return_path(domain.name)
    wanted = f"publish there a CNAME record to {return_path_domain}"
    if target is None:
        return missing(Record.RETURN_PATH, f"{name} has no CNAME record; {wanted}")
    if target.rstrip(".").lower() != return_path_domain:
        return invalid(Record.RETURN_PATH, f"{name} is a CNAME of {shown([target])}; {wanted}")
    return Finding(Record.RETURN_PATH, DNSStatus.OK)


def mx_finding(domain: Domain, hosts: Sequence[str] | None, hostname: str) -> Finding:
    """Return whether mail to the domain comes here (None: the domain does not exist)."""
    if hosts is None:
        return missing(Record.MX, f"{domain.name} is not in the DNS")
    if not hosts:
        return missing(Record.MX, f"{domain.name} has no MX record; mail to it comes here only with one to {hostname}")
    if hostname in {host.lower() for host in hosts}:
        return Finding(Record.MX, DNSStatus.OK)
    if hosts == [""]:
        # RFC 7505 §4.2: receivers may refuse mail from a domain that takes none.
        return invalid(Record.MX, f"{domain.name} has a null MX: it takes no mail, and answers to it come back")
    return missing(Record.MX, f"{domain.name} has MX records, but none of them is {hostname}")
