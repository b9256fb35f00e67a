"""TLS reports (RFC 8460): how often other hosts could, or could not, reach a domain over TLS."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.domain.addresses import domain_name
from shared.domain.errors import InvalidValue

MAX_BYTES = 1024 * 1024
"""A real one has some kilobytes; JSON grows to thirty times its bytes in memory, all at once."""

MAX_POLICIES = 100
MAX_DETAILS = 200
MAX_TEXT = 300
MAX_COUNT = 2**40


@dataclass(frozen=True, slots=True)
class TLSReport:
    """What a sender saw of one domain in a span of time."""

    reporter: str
    report_id: str
    domain: str
    begins_at: datetime
    ends_at: datetime
    policy_type: str
    """sts, tlsa or no-policy-found."""

    successful: int
    failed: int
    failures: tuple[tuple[str, int], ...]
    """(result type of RFC 8460 §4.3, sessions), most sessions first."""


def read_tls(text: bytes) -> Sequence[TLSReport]:
    """Return what a report says, one for each policy in it.

    Raises:
        InvalidValue: not such a report, or one too large.
    """
    if len(text) > MAX_BYTES:
        raise InvalidValue("the TLS report is too large")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidValue("the report is not JSON") from exc
    if not isinstance(body, dict) or not isinstance(body.get("policies"), list):
        raise InvalidValue("the report has no policies")
    return list(_reports(body))


def _reports(body: dict[str, Any]) -> Iterator[TLSReport]:  # Any: JSON
    span = _object(body.get("date-range"))
    for each in body["policies"][:MAX_POLICIES]:
        policy, summary = _object(_object(each).get("policy")), _object(_object(each).get("summary"))
        details = _object(each).get("failure-details")
        failures: Counter[str] = Counter()
        for detail in (details if isinstance(details, list) else [])[:MAX_DETAILS]:
            failures[_text(_object(detail).get("result-type"))] += _number(_object(detail).get("failed-session-count"))
        yield TLSReport(
            reporter=_text(body.get("organization-name")),
            report_id=_text(body.get("report-id")),
            domain=domain_name(_text(policy.get("policy-domain"))),
            begins_at=_moment(_text(span.get("start-datetime"))),
            ends_at=_moment(_text(span.get("end-datetime"))),
            policy_type=_text(policy.get("policy-type"))[:20],
            successful=_number(summary.get("total-successful-session-count")),
            failed=_number(summary.get("total-failure-session-count")),
            failures=tuple(failures.most_common(20)),
        )


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _number(value: Any) -> int:  # noqa: ANN401 - JSON
    return min(value, MAX_COUNT) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text[:40])
    except ValueError as exc:
        raise InvalidValue("the report's span of time cannot be read") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
