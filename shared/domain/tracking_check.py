"""A check of a tracking domain: its one record, the CNAME that leads to us.

| what the DNS says | status | new mail |
| --- | --- | --- |
| a CNAME to our tracking domain | OK | carries the name |
| no CNAME | Missing | does not: its links would lead nowhere |
| a CNAME to elsewhere | Invalid | does not |
| no answer | what it was | as it was |

Links that were sent go on being served whatever is found, for they may come by another way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain.dns_check import DNSStatus


@dataclass(frozen=True, slots=True)
class TrackCheck:
    """What is known of a tracking domain's record."""

    at: datetime
    since: datetime
    """From then on, every check found the same."""

    status: DNSStatus
    error: str = ""
    """For people: what was found, and what to publish; empty if it is right."""

    told: bool = True
    """Whether its server was told of what went wrong."""


def judge(name: str, found: str | None, wanted: str) -> tuple[DNSStatus, str]:
    """Return the status of a CNAME record, and what to do about it.

    Args:
        name: the tracking domain.
        found: what it is an alias of; None for no alias.
        wanted: our tracking domain.
    """
    if found is not None and found.lower() == wanted:
        return DNSStatus.OK, ""
    what = "has no CNAME record" if found is None else f"is a CNAME of {found[:253]!a}"
    status = DNSStatus.MISSING if found is None else DNSStatus.INVALID
    return status, f"{name} {what}; publish at {name} a CNAME record to {wanted}"


def next_track_check(before: TrackCheck | None, status: DNSStatus, error: str, at: datetime) -> TrackCheck:
    """Return what is known now: told is once, of what was right before, as at verification."""
    was = DNSStatus.OK if before is None else before.status
    since = before.since if before is not None and before.status is status else at
    return TrackCheck(at, since, status, error, told=status is DNSStatus.OK or was is not DNSStatus.OK)


def track_event_data(name: str, check: TrackCheck) -> Mapping[str, str]:
    """Return what a ``DOMAIN_ERROR`` event tells of it, as ``shared.domain.edgepost_payload`` reads it."""
    return {"domain": name, "tracking_status": check.status.value, "tracking_error": check.error}
