"""What reports of each kind count, and by what their sums may be shown."""

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Aggregate(StrEnum):
    """What is reported about."""

    DMARC = "dmarc"
    TLS = "tls"


class By(StrEnum):
    """What the rows of a summary are."""

    DAY = "day"
    REPORTER = "reporter"
    SOURCE = "source"
    """IP address that mail came from (DMARC)."""

    FAILURE = "failure"
    """What went wrong, in the words of RFC 8460 §4.3 (TLS)."""


SUMS: Mapping[Aggregate, Sequence[str]] = {
    Aggregate.DMARC: ("messages", "passed", "dkim_passed", "spf_passed", "quarantined", "rejected"),
    Aggregate.TLS: ("successful", "failed"),
}
ROWS: Mapping[Aggregate, Sequence[By]] = {
    Aggregate.DMARC: (By.DAY, By.REPORTER, By.SOURCE),
    Aggregate.TLS: (By.DAY, By.REPORTER, By.FAILURE),
}
