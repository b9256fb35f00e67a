"""DMARC aggregate reports (RFC 7489 appendix C, RFC 9990), summed while they are read.

Expat reads event by event, so no tree grows in memory.  A document type declaration
is refused at once: without one there are no entities, so nothing can be expanded and
nothing fetched.  Tags and elements have bounds of their own, because they cost more
than their bytes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from ipaddress import ip_address
from xml.parsers import expat

from shared.domain.addresses import domain_name
from shared.domain.errors import InvalidValue

MAX_DEPTH = 12
MAX_RECORDS = 50_000
MAX_ELEMENTS = 20 * MAX_RECORDS
MAX_TAG_BYTES = 64 * 1024
"""Or a comment's: expat holds each whole, and a tag's attributes many times over."""

MAX_NAME = 100
MAX_TEXT = 300
MAX_SOURCES = 50
"""Addresses that are kept with their counts; the rest is in the sums only."""

MAX_COUNT = 2**40
_FIRST, _LAST = datetime(2010, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Source:
    """What was seen from one IP address."""

    address: str
    messages: int
    passed: int
    dkim_passed: int
    spf_passed: int
    quarantined: int
    rejected: int


@dataclass(frozen=True, slots=True)
class DMARCReport:
    """What a receiver saw of a domain in a span of time."""

    reporter: str
    report_id: str
    domain: str
    begins_at: datetime
    ends_at: datetime
    policy: str
    """Published: none, quarantine or reject."""

    messages: int
    passed: int
    """DKIM or SPF passed, aligned: what DMARC asks for."""

    dkim_passed: int
    spf_passed: int
    quarantined: int
    rejected: int
    sources: tuple[Source, ...]
    """Most messages first."""


@dataclass(slots=True)
class _Sums:
    """Grows while the document is read."""

    paths: list[str] = field(default_factory=list)
    """Of the open elements, each from the root on."""

    text: list[str] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    row: dict[str, str] = field(default_factory=dict)
    elements: int = 0
    records: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    by_source: dict[str, Counter[str]] = field(default_factory=dict)


_META = {
    "feedback/report_metadata/org_name": "reporter",
    "feedback/report_metadata/report_id": "report_id",
    "feedback/report_metadata/date_range/begin": "begin",
    "feedback/report_metadata/date_range/end": "end",
    "feedback/policy_published/domain": "domain",
    "feedback/policy_published/p": "policy",
}
_ROW = {
    "feedback/record/row/source_ip": "source",
    "feedback/record/row/count": "count",
    "feedback/record/row/policy_evaluated/disposition": "disposition",
    "feedback/record/row/policy_evaluated/dkim": "dkim",
    "feedback/record/row/policy_evaluated/spf": "spf",
}


def read_dmarc(xml: bytes) -> DMARCReport:
    """Return the sums of a report.

    Raises:
        InvalidValue: not such a report, or with a document type, or one that takes more work than reports do.
    """
    sums = _Sums()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:  # noqa: ARG001 - expat's signature
        # RFC 9990 has a namespace, which older reports lack.
        local = name.rpartition(":")[2][:MAX_NAME]
        sums.paths.append(f"{sums.paths[-1]}/{local}" if sums.paths else local)
        sums.text.clear()
        sums.elements += 1
        if len(sums.paths) > MAX_DEPTH or sums.elements > MAX_ELEMENTS:
            raise InvalidValue("the report is nested too deeply, or has too many elements")

    def data(text: str) -> None:
        if sum(map(len, sums.text)) < MAX_TEXT:
            sums.text.append(text[:MAX_TEXT])

    def end(name: str) -> None:  # noqa: ARG001 - expat's signature
        _leave(sums)

    def doctype(*_: object) -> None:
        raise InvalidValue("a report with a document type is refused")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = data
    parser.StartDoctypeDeclHandler = doctype
    try:
        _parse(parser, xml)
    except (expat.ExpatError, UnicodeError, ValueError) as exc:
        raise InvalidValue("the report is not well-formed XML") from exc
    return _report(sums)


def _parse(parser: expat.XMLParserType, xml: bytes) -> None:
    """Give the document to expat in pieces, as long as it can make something of them."""
    for begins in range(0, len(xml), MAX_TAG_BYTES):
        parser.Parse(xml[begins : begins + MAX_TAG_BYTES], False)  # more follows
        # What expat has not taken yet is the start of a tag that goes on.
        if begins - parser.CurrentByteIndex > MAX_TAG_BYTES:
            raise InvalidValue("the report has a tag or comment that is too long")
    parser.Parse(b"", True)


def _leave(sums: _Sums) -> None:
    path = sums.paths.pop()
    if name := _ROW.get(path):
        sums.row[name] = "".join(sums.text).strip()[:MAX_TEXT]
    elif name := _META.get(path):
        sums.meta.setdefault(name, "".join(sums.text).strip()[:MAX_TEXT])
    elif path == "feedback/record":
        _count(sums)
    sums.text.clear()


def _count(sums: _Sums) -> None:
    sums.records += 1
    if sums.records > MAX_RECORDS:
        raise InvalidValue(f"the report has more than {MAX_RECORDS} records")
    row, sums.row = sums.row, {}
    text = row.get("count", "")
    count = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    dkim, spf = row.get("dkim", "").lower() == "pass", row.get("spf", "").lower() == "pass"
    disposition = row.get("disposition", "").lower()
    seen = {
        "messages": count,
        "passed": count * (dkim or spf),
        "dkim": count * dkim,
        "spf": count * spf,
        "quarantine": count * (disposition == "quarantine"),
        "reject": count * (disposition == "reject"),
    }
    sums.counted.update(seen)
    source = _address(row.get("source", ""))
    if source and (source in sums.by_source or len(sums.by_source) < 10 * MAX_SOURCES):
        sums.by_source.setdefault(source, Counter()).update(seen)


def _address(text: str) -> str:
    """Return an IP address in its usual form; empty if it is none: reporters are strangers."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _report(sums: _Sums) -> DMARCReport:
    meta, counted = sums.meta, sums.counted
    if not meta.get("report_id") or not meta.get("domain"):
        raise InvalidValue("the report names no domain or has no id")
    return DMARCReport(
        reporter=meta.get("reporter", ""),
        report_id=meta["report_id"],
        domain=domain_name(meta["domain"]),
        begins_at=_moment(meta.get("begin", "")),
        ends_at=_moment(meta.get("end", "")),
        policy=meta.get("policy", "")[:20].lower(),
        **_numbers(counted),
        sources=tuple(Source(each, **_numbers(sums.by_source[each])) for each in _most(sums.by_source)),
    )


def _numbers(counted: Counter[str]) -> dict[str, int]:
    names = {
        "messages": "messages",
        "passed": "passed",
        "dkim_passed": "dkim",
        "spf_passed": "spf",
        "quarantined": "quarantine",
        "rejected": "reject",
    }
    return {name: min(counted[key], MAX_COUNT) for name, key in names.items()}


def _most(by_source: dict[str, Counter[str]]) -> Sequence[str]:
    """Return the addresses with the most messages."""
    return nlargest(MAX_SOURCES, by_source, key=lambda each: by_source[each]["messages"])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromtimestamp(int(text[:12]), UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise InvalidValue("the report's span of time cannot be read") from exc
    if not _FIRST <= moment <= _LAST:
        raise InvalidValue("the report's span of time cannot be right")
    return moment
