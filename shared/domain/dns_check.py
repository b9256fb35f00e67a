"""A check of a sending domain's DNS records: what was found, what is wrong, when to look again.

| record | needed | statuses |
| --- | --- | --- |
| SPF | yes | OK, Missing, Invalid |
| DKIM, each key | yes | OK, Missing, Invalid |
| return path | no: mail goes without it | OK, Missing, Invalid |
| MX | no: only for mail that comes in | OK, Missing, Invalid |

Statuses and the rule for the two that may be missing are Postal's
(app/models/concerns/has_dns_checks.rb).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

MAX_ERROR = 400
LONGEST = 24
"""Times the shortest wait."""


class DNSStatus(StrEnum):
    """What a record is, in Postal's words."""

    OK = "OK"
    MISSING = "Missing"
    INVALID = "Invalid"


class Record(StrEnum):
    """What is looked for, as payloads name it."""

    SPF = "spf"
    DKIM = "dkim"
    MX = "mx"
    RETURN_PATH = "return_path"


REQUIRED = frozenset({Record.SPF, Record.DKIM})

Name: TypeAlias = tuple[Record, str]
"""A record, and the selector if it is a DKIM key's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the DNS said of one record."""

    record: Record
    status: DNSStatus
    error: str = ""
    """For people: what was found, and what to publish; empty if it is right."""

    selector: str = ""
    """Of a DKIM key."""

    @property
    def name(self) -> Name:
        """Tells it from the others of its check."""
        return self.record, self.selector

    @property
    def wrong(self) -> bool:
        """Whether somebody should do something about it."""
        return self.status is DNSStatus.INVALID or (self.status is DNSStatus.MISSING and self.record in REQUIRED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the DNS gave."""

    exists: bool | None
    """Whether the domain is in the DNS at all; None if that is not known."""

    findings: Sequence[Finding]
    unknown: Collection[Name] = ()
    """Records of which the DNS gave no answer."""


@dataclass(frozen=True, slots=True)
class DNSCheck:
    """What is known of a domain's records."""

    at: datetime
    since: datetime
    """From then on, every check found the same statuses."""

    exists: bool
    findings: tuple[Finding, ...]
    told: bool = True
    """Whether the servers concerned were told of what went wrong."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.wrong for each in self.findings)

    def summary(self, record: Record) -> Finding | None:
        """Return what is known of all findings of a record as one: the worst status, and every error."""
        found = [each for each in self.findings if each.record is record]
        if not found:
            return None
        worst = max(found, key=lambda each: list(DNSStatus).index(each.status))
        return Finding(record, worst.status, "; ".join(each.error for each in found if each.error))


def next_check(before: DNSCheck | None, seen: Seen, at: datetime) -> DNSCheck:
    """Return what is known now; of records that gave no answer it stays what it was."""
    known = () if before is None else before.findings
    kept = [each for each in known if each.name in seen.unknown]
    findings = tuple(sorted([*seen.findings, *kept], key=lambda each: (list(Record).index(each.record), each.selector)))
    statuses = [(each.name, each.status) for each in findings]
    same = before is not None and statuses == [(each.name, each.status) for each in known]
    exists = seen.exists if seen.exists is not None else before is None or before.exists
    return DNSCheck(at, before.since if before is not None and same else at, exists, findings)


def went_wrong(before: DNSCheck | None, now: DNSCheck, *, trusted: bool) -> Sequence[Finding]:
    """Return what is worse than before: what was OK and is not, and what is wrong for the first time.

    Args:
        before: the check before, None for the first one after the domain was verified.
        now: the new check.
        trusted: an admin vouched for the domain; if it is not in the DNS at all, it was never meant to be.
    """
    was = {} if before is None else {each.name: each for each in before.findings}
    found: list[Finding] = []
    for each in now.findings:
        old = was.get(each.name)
        lost = old is not None and old.status is DNSStatus.OK and each.status is not DNSStatus.OK
        newly_wrong = each.wrong and not (old is not None and old.wrong)
        if lost or (newly_wrong and not (trusted and not now.exists)):
            found.append(each)
    return found


def wait_after(check: DNSCheck | None, now: datetime, shortest: timedelta) -> timedelta:
    """Return how long to wait: as long as nothing has changed, between the shortest wait and 24 times that."""
    return wait_since(None if check is None else check.since, now, shortest)


def wait_since(since: datetime | None, now: datetime, shortest: timedelta) -> timedelta:
    """Return how long to wait if nothing has changed since then; None: nothing is known."""
    unchanged = timedelta(0) if since is None else now - since
    return min(max(unchanged, shortest), shortest * LONGEST)


def event_data(domain: str, check: DNSCheck) -> dict[str, str]:
    """Return what a ``DOMAIN_ERROR`` event tells, as ``shared.domain.edgepost_payload`` reads it."""
    data = {"domain": domain}
    for record in Record:
        if found := check.summary(record):
            data[f"{record.value}_status"] = found.status.value
            if found.error:
                data[f"{record.value}_error"] = found.error
    return data
