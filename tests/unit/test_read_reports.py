"""What is shown of DMARC and TLS reports: sums by day, reporter, source and failure."""

import gzip
import json
from base64 import encodebytes
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.reports.sums import Aggregate, By
from shared.domain.tenancy import DKIMAlgorithm, Scope
from shared.flow.domains import NewDomain, add_domain
from shared.flow.read_reports import Bounds, Summary, summarize
from shared.flow.take_report import take_report
from tests.architecture.sources import ROOT
from tests.fakes.installation import Installation, install

SAMPLES = ROOT / "tests" / "data" / "reports"
DMARC, TLS = Aggregate.DMARC, Aggregate.TLS
JANUARY = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 1, 31, tzinfo=UTC)}


def mail(content: bytes, kind: str = "application/gzip") -> bytes:
    """Return a mail with the packed report as its only part."""
    head = (
        "From: noreply@provider.test\r\nSubject: Report domain: example.test\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + encodebytes(gzip.compress(content)).replace(b"\n", b"\r\n")


async def take(here: Installation, *contents: bytes) -> None:
    """Take these reports in."""
    for each in contents:
        await take_report(mail(each), records=here.records, now=here.clock())


def sample(name: str) -> bytes:
    """Return a sample's bytes."""
    return (SAMPLES / name).read_bytes()


async def shown(here: Installation, kind: Aggregate = DMARC, by: By = By.DAY, **span: datetime) -> Summary:
    """Sum up the reports about the first domain."""
    return await summarize(kind, here.domain, by=by, records=here.records, **(JANUARY | span))


def dmarc(day: int, reporter: str, *rows: tuple[str, int]) -> bytes:
    """Return a report of a day of January; each row is an address and how many messages passed."""
    begin = int(datetime(2026, 1, day, tzinfo=UTC).timestamp())
    records = "".join(
        f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none"
        f"</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row></record>"
        for ip, count in rows
    )
    return (
        f"<feedback><report_metadata><org_name>{reporter}</org_name><report_id>{day}</report_id><date_range>"
        f"<begin>{begin}</begin><end>{begin + 86399}</end></date_range></report_metadata>"
        f"<policy_published><domain>example.test</domain></policy_published>{records}</feedback>"
    ).encode()


class TestSummarize:
    async def test_by_day(self) -> None:
        """Reports of the old and the new schema count together."""
        here = await install()
        await take(here, sample("rfc9990.xml"), sample("rfc7489.xml"))

        found = await shown(here)

        first, second = found.rows
        assert first == (
            "2026-01-01",
            {"messages": 161, "passed": 123, "dkim_passed": 123, "spf_passed": 0, "quarantined": 31, "rejected": 0},
        )
        assert second == (
            "2026-01-02",
            {"messages": 42, "passed": 40, "dkim_passed": 40, "spf_passed": 40, "quarantined": 0, "rejected": 2},
        )
        assert found.total == {name: first[1][name] + second[1][name] for name in first[1]}
        assert (found.reports, found.complete) == (2, True)

    async def test_by_source(self) -> None:
        """Which address sends in our name and does not pass is what the reports are read for."""
        here = await install()
        await take(here, sample("rfc9990.xml"), sample("rfc7489.xml"))

        rows = dict((await shown(here, by=By.SOURCE)).rows)

        assert list(rows) == ["192.0.2.123", "198.51.100.9", "2001:db8::25", "203.0.113.66"]
        assert (rows["192.0.2.123"]["messages"], rows["192.0.2.123"]["passed"]) == (163, 163)
        assert (rows["198.51.100.9"]["passed"], rows["198.51.100.9"]["quarantined"]) == (0, 31)
        assert rows["203.0.113.66"]["rejected"] == 2

    async def test_sources_that_are_not_listed_count_as_others(self) -> None:
        """Sums of the rows must be the total, or people look for an error."""
        here = await install()
        await take(here, dmarc(1, "A", *((f"10.0.0.{number}", 1) for number in range(60)), ("nonsense", 5)))

        found = await shown(here, by=By.SOURCE)

        assert found.rows[-1][0] == "others"
        assert sum(counts["messages"] for _, counts in found.rows) == found.total["messages"] == 65

    async def test_by_reporter(self) -> None:
        """The large mailbox providers, largest first."""
        here = await install()
        await take(
            here, dmarc(1, "Small", ("10.0.0.1", 1)), dmarc(1, "Large", ("10.0.0.1", 9)), dmarc(2, "", ("::1", 2))
        )

        rows = (await shown(here, by=By.REPORTER)).rows

        assert [(name, counts["messages"]) for name, counts in rows] == [("Large", 9), ("unnamed", 2), ("Small", 1)]

    async def test_tls_by_day_and_failure(self) -> None:
        """RFC 8460 appendix B."""
        here = await install()
        await take(here, sample("rfc8460.json"))

        by_day, by_failure = await shown(here, TLS), await shown(here, TLS, By.FAILURE)

        assert by_day.rows == [("2026-01-01", {"successful": 5326, "failed": 303})]
        assert by_failure.rows == [
            ("starttls-not-supported", {"failed": 200}),
            ("certificate-expired", {"failed": 100}),
            ("validation-failure", {"failed": 3}),
        ]
        assert by_failure.total == {"successful": 5326, "failed": 303}

    @pytest.mark.parametrize("by", [By.DAY, By.REPORTER, By.SOURCE])
    async def test_the_span_holds_both_its_days(self, by: By) -> None:
        """Whoever asks for the third and fourth means whole days."""
        here = await install()
        await take(here, *(dmarc(day, f"R{day}", (f"10.0.0.{day}", day)) for day in range(1, 8)))
        since, until = datetime(2026, 1, 3, 23, 59, tzinfo=UTC), datetime(2026, 1, 4, 0, 1, tzinfo=UTC)

        found = await shown(here, by=by, since=since, until=until)

        assert (found.total["messages"], found.reports, len(found.rows)) == (7, 2, 2)

    async def test_a_day_is_no_end_before_its_own_evening(self) -> None:
        """``--since 1h --until`` today: days count, not hours."""
        here = await install()
        await take(here, dmarc(3, "R", ("10.0.0.1", 7)))
        since, until = datetime(2026, 1, 3, 22, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)

        assert (await shown(here, since=since, until=until)).total["messages"] == 7

    @pytest.mark.parametrize("by", [By.DAY, By.REPORTER])
    async def test_a_span_may_begin_and_end_anywhere(self, by: By) -> None:
        """Before the first date that there is, there is none to begin with."""
        here = await install()
        await take(here, dmarc(3, "R", ("10.0.0.1", 7)))
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)

        assert (await shown(here, by=by, since=first, until=first)).reports == 0
        assert (await shown(here, by=by, since=first)).reports == 1
        assert (await shown(here, by=by, since=last, until=last)).reports == 0

    async def test_names_of_strangers_are_lines(self) -> None:
        """A reporter's name could steer the terminal on which it is shown, or make lines of its own in a file."""
        here = await install()
        failure = {"result-type": "a\u009bb\u001b]0;c\u0007", "failed-session-count": 3}
        policy = {"policy": {"policy-domain": "example.test"}, "failure-details": [failure]}
        day = {"start-datetime": "2026-01-03T00:00:00Z", "end-datetime": "2026-01-04T00:00:00Z"}
        report = {"organization-name": "\u001b[2J\r\nP", "report-id": "1", "date-range": day, "policies": [policy]}
        await take(here, json.dumps(report).encode())

        reporters, failures = await shown(here, TLS, By.REPORTER), await shown(here, TLS, By.FAILURE)

        assert [name for name, _ in reporters.rows] == ["[2J  P"]
        assert [name for name, _ in failures.rows] == ["a b ]0;c"]

    async def test_nothing_came(self) -> None:
        """A new domain has no reports for a day or two."""
        here = await install()

        found = await shown(here, by=By.SOURCE)

        assert (found.reports, found.rows, found.total["messages"]) == (0, [], 0)

    async def test_a_claim_shows_nothing(self) -> None:
        """Anybody may add anybody's domain; who sends in its name is told to its owner only."""
        here = await install()
        await take(here, sample("rfc9990.xml"))
        wanted = NewDomain(name="example.test", algorithms=(DKIMAlgorithm.ED25519,), scope=Scope.ADMIN)
        claim = await add_domain(
            wanted,
            owner=here.tenant.organization,
            records=here.records,
            keyring=here.stores.keyring,
            rng=here.rng,
            now=here.clock(),
            check_after=timedelta(days=1),
        )

        with pytest.raises(InvalidValue, match="not verified"):
            await summarize(DMARC, claim, by=By.DAY, records=here.records, **JANUARY)

    @pytest.mark.parametrize(
        ("kind", "by", "more"),
        [
            (DMARC, By.FAILURE, {}),
            (TLS, By.SOURCE, {}),
            (DMARC, By.DAY, {"until": datetime(2025, 12, 1, tzinfo=UTC)}),
        ],
    )
    async def test_refuses_what_cannot_be_shown(self, kind: Aggregate, by: By, more: dict[str, Any]) -> None:
        """An empty table would look like an answer."""
        here = await install()

        with pytest.raises(InvalidValue):
            await shown(here, kind, by, **more)

    async def test_what_strangers_send_is_read_within_bounds(self) -> None:
        """Anybody may send any number of reports with made-up names; the answer says that it stopped."""
        here = await install()
        await take(here, *(dmarc(1, f"R{number}", ("10.0.0.1", 1)) for number in range(6)))

        found = await summarize(
            DMARC, here.domain, by=By.REPORTER, records=here.records, bounds=Bounds(reports=4, names=2), **JANUARY
        )

        assert not found.complete
        assert [counts["messages"] for _, counts in found.rows] == [1, 1, 2]
        assert found.rows[-1][0] == "others"
        assert found.total["messages"] == 6
