"""DMARC and TLS reports: what they say, and what strangers put into them."""

import gzip
import io
import json
import zipfile
import zlib
from base64 import encodebytes
from datetime import UTC, date, datetime

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.reports.dmarc import MAX_ELEMENTS, MAX_SOURCES, MAX_TAG_BYTES, Source, read_dmarc
from shared.domain.reports.sums import Aggregate
from shared.domain.reports.tls import MAX_BYTES, read_tls
from shared.domain.reports.unpacking import MAX_REPORT_BYTES, unpacked, unpacked_reports
from shared.flow.take_report import Taken, take_report
from shared.store.reports import Reports
from tests.fakes.installation import install

RECORD = """<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>
<disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>
<identifiers><header_from>example.test</header_from></identifiers>
<auth_results><dkim><domain>example.test</domain><result>pass</result></dkim></auth_results></record>"""


def dmarc(records: str, *, domain: str = "example.test", report_id: str = "1", root: str = "<feedback>") -> bytes:
    """Return a report of RFC 7489 appendix C."""
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>{root}<report_metadata><org_name>Provider</org_name>'
        f"<email>noreply@provider.test</email><report_id>{report_id}</report_id>"
        "<date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata>"
        f"<policy_published><domain>{domain}</domain><p>reject</p></policy_published>{records}</feedback>"
    ).encode()


GOOD = dmarc(
    RECORD.format(ip="192.0.2.1", count=10, disposition="none", dkim="pass", spf="fail")
    + RECORD.format(ip="192.0.2.2", count=3, disposition="reject", dkim="fail", spf="fail")
    + RECORD.format(ip="2001:db8::1", count=2, disposition="quarantine", dkim="fail", spf="pass")
)

TLS = {
    "organization-name": "Provider",
    "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
    "contact-info": "tls@provider.test",
    "report-id": "r1",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-string": ["version: STSv1"], "policy-domain": "example.test"},
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {"result-type": "certificate-expired", "failed-session-count": 100},
                {"result-type": "starttls-not-supported", "failed-session-count": 200},
            ],
        }
    ],
}


DAY = date(2026, 1, 1)


def zipped(content: bytes, *, files: int = 1) -> bytes:
    """Return a zip of as many files with this content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(files):
            archive.writestr(f"provider!example.test!{number}.xml", content)
    return packed.getvalue()


def mail(content: bytes, kind: str) -> bytes:
    """Return a mail with the report as its only part."""
    head = (
        f"From: noreply@provider.test\r\nSubject: Report domain: example.test\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: {kind}; name="report"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + encodebytes(content).replace(b"\n", b"\r\n")


class TestReadDMARC:
    def test_sums_all_records(self) -> None:
        """DMARC passes if one of the two is aligned."""
        report = read_dmarc(GOOD)

        assert (report.domain, report.reporter, report.policy) == ("example.test", "Provider", "reject")
        assert (report.messages, report.passed, report.dkim_passed, report.spf_passed) == (15, 12, 10, 2)
        assert (report.quarantined, report.rejected) == (2, 3)
        assert report.sources[0] == Source("192.0.2.1", 10, 10, 10, 0, 0, 0)
        assert report.sources[2] == Source("2001:db8::1", 2, 2, 0, 2, 2, 0)
        assert report.begins_at == datetime(2026, 1, 1, tzinfo=UTC)

    def test_takes_the_namespace_of_rfc_9990(self) -> None:
        """The newer schema differs in its root only, as far as the sums go."""
        records = RECORD.format(ip="192.0.2.1", count=1, disposition="none", dkim="pass", spf="pass")

        assert read_dmarc(dmarc(records, root='<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">')).messages == 1

    @pytest.mark.parametrize(
        "attack",
        [
            b'<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;">]>' + GOOD[40:],
            b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd">' + GOOD[40:],
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>&x;</feedback>',
            b"<feedback>" + b"<a>" * 100_000,
            b"<feedback>&undefined;</feedback>",
            b"<feedback",
            b"",
            b"\xff\xfe\x00",
            dmarc("", domain="not a domain"),
            dmarc("", report_id=""),
            GOOD.replace(b"1767225600", b"9" * 40),
            GOOD.replace(b"1767225600", b"soon"),
        ],
    )
    def test_refuses(self, attack: bytes) -> None:
        """Entities expand or fetch; depth exhausts; a report without a name could be counted twice."""
        with pytest.raises(InvalidValue):
            read_dmarc(attack)

    def test_counts_stay_numbers_of_sensible_size(self) -> None:
        """DynamoDB has 38 digits, a page has less room."""
        huge = RECORD.format(ip="192.0.2.1", count="9" * 400, disposition="none", dkim="pass", spf="pass")
        negative = RECORD.format(ip="192.0.2.1", count="-5", disposition="none", dkim="pass", spf="pass")

        assert read_dmarc(dmarc(huge + negative)).messages == 0

    def test_keeps_few_sources(self) -> None:
        """One report may name as many addresses as it likes."""
        many = "".join(
            RECORD.format(ip=f"10.0.{n // 256}.{n % 256}", count=1, disposition="none", dkim="pass", spf="pass")
            for n in range(2000)
        )

        report = read_dmarc(dmarc(many))

        assert (report.messages, len(report.sources)) == (2000, MAX_SOURCES)

    @pytest.mark.parametrize(
        "inside",
        [
            "<a{0}><b/></a{0}>".format("a" * 3 * MAX_TAG_BYTES),
            "<b " + " ".join(f"a{n}=''" for n in range(MAX_TAG_BYTES // 2)) + "/>",
            f"<!--{'x' * 3 * MAX_TAG_BYTES}-->",
            "<b/>" * MAX_ELEMENTS,
        ],
        ids=["long name", "many attributes", "long comment", "many elements"],
    )
    def test_refuses_what_costs_more_than_its_bytes(self, inside: str) -> None:
        """A tag of 4 MB took 140 MB of memory; a name of 100 KB around 100,000 elements took seconds."""
        with pytest.raises(InvalidValue, match=r"too long|too many elements"):
            read_dmarc(dmarc(inside))

    def test_long_values_are_cut(self) -> None:
        """Only what is held whole is bounded: text comes in pieces, however long it is."""
        report = read_dmarc(GOOD.replace(b"Provider", b"P" * 4 * MAX_TAG_BYTES))

        assert (report.reporter[:2], report.messages) == ("PP", 15)

    def test_words_of_a_disposition_are_no_names_of_sums(self) -> None:
        """Each word that a reporter makes up would be a sum of its own, and `passed` another's."""
        report = read_dmarc(dmarc(RECORD.format(ip="192.0.2.1", count=10, disposition="passed", dkim="", spf="")))

        assert (report.messages, report.passed) == (10, 0)


class TestReadTLS:
    def test_reads_each_policy(self) -> None:
        """RFC 8460 appendix B."""
        [report] = read_tls(json.dumps(TLS).encode())

        assert (report.domain, report.policy_type, report.successful, report.failed) == (
            "example.test",
            "sts",
            5326,
            303,
        )
        assert report.failures[0] == ("starttls-not-supported", 200)

    @pytest.mark.parametrize(
        "attack",
        [
            b"[" * 100_000,
            b"{}",
            b'{"policies": 1}',
            b'{"policies": [1]}',
            b"\xff",
            b'{"policies": [' + b"{}," * (MAX_BYTES // 3) + b"{}]}",
            json.dumps(TLS | {"date-range": {"start-datetime": "never"}}).encode(),
        ],
    )
    def test_refuses(self, attack: bytes) -> None:
        """Nested JSON exhausts the stack, other JSON has other types."""
        with pytest.raises(InvalidValue):
            read_tls(attack)

    def test_odd_numbers_count_as_none(self) -> None:
        """A sum of strings or of negative numbers is no sum."""
        policy = TLS["policies"][0] | {
            "summary": {"total-successful-session-count": "7", "total-failure-session-count": -1}
        }

        [report] = read_tls(json.dumps(TLS | {"policies": [policy]}).encode())

        assert (report.successful, report.failed) == (0, 0)


class TestUnpacked:
    @pytest.mark.parametrize("pack", [lambda plain: plain, gzip.compress, zipped])
    def test_returns_the_report(self, pack: object) -> None:
        """RFC 7489 §7.2.1.1 and RFC 8460 §5.3 name gzip; older reporters zip."""
        assert unpacked(pack(GOOD)) == GOOD  # type: ignore[operator]

    @pytest.mark.parametrize(
        "bomb",
        [
            gzip.compress(b"<?xml" + b"\0" * (MAX_REPORT_BYTES + 1)),
            zipped(b"<?xml" + b"\0" * (MAX_REPORT_BYTES + 1)),
            zipped(b"<?xml", files=2000),
            gzip.compress(GOOD)[:40] + b"x" * 40,
            zipped(GOOD)[:60],
            b"PK\x03\x04",
            b"PK\x03\x04PK\x05\x06" + b"\0" * 18,
            zipped(GOOD).replace(b"\x08\x00", b"\x63\x00"),
        ],
        ids=["gzip bomb", "zip bomb", "many files", "damaged", "cut", "head only", "empty", "unknown method"],
    )
    def test_refuses_bombs_and_damage(self, bomb: bytes) -> None:
        """A thousandth of the limit in the mail may be the limit in memory, not more."""
        with pytest.raises(InvalidValue):
            unpacked(bomb)

    def test_a_zip_in_a_zip_is_no_report(self) -> None:
        """Only one layer is opened."""
        assert list(unpacked_reports(mail(zipped(zipped(GOOD)), "application/zip"))) == []

    def test_all_files_of_a_mail_have_one_limit(self) -> None:
        """A mail has place for 500 files, and each would be inflated and read up to the limit."""
        file = mail(gzip.compress(b"<?xml" + b" " * (MAX_REPORT_BYTES // 2)), "application/gzip")
        head = b'From: a@provider.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        found = unpacked_reports(head + b"--b\r\n" + b"--b\r\n".join([file, file, file]) + b"--b--\r\n")

        next(found)

        with pytest.raises(InvalidValue, match="together"):
            list(found)

    def test_sizes_in_the_directory_are_not_believed(self) -> None:
        """A directory that says ten bytes while the stream has gigabytes."""
        packed = zipped(b"<?xml" + b"\0" * (MAX_REPORT_BYTES + 1))
        size = (MAX_REPORT_BYTES + 6).to_bytes(4, "little")

        with pytest.raises(InvalidValue):
            unpacked(packed.replace(size, (10).to_bytes(4, "little")))

    def test_stops_inflating_at_the_limit(self) -> None:
        """A gigabyte of zeros in a megabyte: what is inflated must stay bounded."""
        packer = zlib.compressobj(wbits=31)
        packed = b"".join([*(packer.compress(b"\0" * 1_000_000) for _ in range(300)), packer.flush()])

        with pytest.raises(InvalidValue, match="too large"):
            unpacked(packed)


class TestTakeReport:
    async def test_sums_by_domain_and_day_once(self) -> None:
        """Reporters send the same report again, and queues deliver twice."""
        here = await install()
        packed = mail(gzip.compress(GOOD), "application/gzip")

        first = await take_report(packed, records=here.records, now=here.clock())
        again = await take_report(packed, records=here.records, now=here.clock())

        assert (first, again) == (Taken(1, 0, 0), Taken(0, 1, 0))
        [day] = await Reports(here.records).days("example.test", Aggregate.DMARC, since=DAY, until=DAY)
        assert (day.day, day.sums["messages"], day.sums["passed"], day.sums["reports"]) == (DAY, 15, 12, 1)

    async def test_tls_reports_have_sums_of_their_own(self) -> None:
        """The two kinds count different things."""
        here = await install()

        await take_report(
            mail(gzip.compress(json.dumps(TLS).encode()), "application/tlsrpt+gzip"),
            records=here.records,
            now=here.clock(),
        )

        [day] = await Reports(here.records).days("example.test", Aggregate.TLS, since=DAY, until=DAY)
        assert (day.sums["successful"], day.sums["failed"]) == (5326, 303)

    async def test_each_policy_of_a_report_counts(self) -> None:
        """RFC 8460 §4.4: a domain with MTA-STS and DANE has two in one report."""
        here = await install()
        both = TLS | {"policies": [TLS["policies"][0], TLS["policies"][0]]}
        packed = mail(json.dumps(both).encode(), "application/tlsrpt+json")

        first = await take_report(packed, records=here.records, now=here.clock())
        again = await take_report(packed, records=here.records, now=here.clock())

        assert (first, again) == (Taken(2, 0, 0), Taken(0, 2, 0))
        [day] = await Reports(here.records).days("example.test", Aggregate.TLS, since=DAY, until=DAY)
        assert (day.sums["successful"], day.sums["reports"]) == (2 * 5326, 1)

    async def test_nobodys_domain_leaves_nothing(self) -> None:
        """Whoever writes to the report address could fill the store with domains of their own."""
        here = await install()
        before = len(here.records._kept)

        taken = await take_report(
            mail(dmarc("", domain="stranger.test"), "text/xml"), records=here.records, now=here.clock()
        )

        assert taken == Taken(0, 0, 1)
        assert len(here.records._kept) == before

    async def test_a_mail_without_a_report_is_refused(self) -> None:
        """The caller keeps it as unmatched with the reason."""
        here = await install()

        with pytest.raises(InvalidValue):
            await take_report(mail(b"hello", "text/plain"), records=here.records, now=here.clock())
