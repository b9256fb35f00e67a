"""What the DNS of a sending domain must say, and what is said if it does not."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.dns_check import (
    DNSCheck,
    DNSStatus,
    Finding,
    Record,
    Seen,
    event_data,
    next_check,
    wait_after,
    went_wrong,
)
from shared.domain.dns_findings import dkim_finding, mx_finding, return_path_finding
from shared.domain.ids import OrganizationId, ServerId
from shared.domain.spf_terms import is_spf, passing_terms
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain
from shared.flow.look_at_dns import MAX_SPF_LOOKUPS, look_at_dns
from shared.settings import Settings
from tests.fakes.resolver import FakeResolver

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOST, RETURN_PATH = "mail.example.net", "rp.example.net"
SETTINGS = Settings(hostname=HOST, return_path_domain=RETURN_PATH)
KEY = DKIMKey(DKIMAlgorithm.ED25519, "eped-abcdef", "PUBLIC+KEY=", "wrapped")
DOMAIN = Domain("example.com", OrganizationId(1), ServerId(2), (KEY,), "token", AT)
DKIM_NAME = "eped-abcdef._domainkey.example.com"
DKIM_VALUE = "v=DKIM1; k=ed25519; p=PUBLIC+KEY="
RIGHT_TXT = {"example.com": ["edgepost-verification token", f"v=spf1 a:{HOST} ~all"], DKIM_NAME: [DKIM_VALUE]}
RIGHT_CNAME = {"psrp.example.com": RETURN_PATH}

OK, MISSING, INVALID = DNSStatus.OK, DNSStatus.MISSING, DNSStatus.INVALID


async def spf(record: str, **more: object) -> DNSStatus:
    """Return what is found of an SPF record."""
    resolver = FakeResolver(**{"txt": {"example.com": [record]}} | more)  # type: ignore[arg-type]
    seen = await look_at_dns(DOMAIN, resolver=resolver, settings=SETTINGS)
    (found,) = [each for each in seen.findings if each.record is Record.SPF]
    return found.status


class TestLookAtDNS:
    async def test_asks_once_for_each_record(self) -> None:
        """A check costs as many questions as there are records."""
        resolver = FakeResolver(txt=RIGHT_TXT, cname=RIGHT_CNAME, mx={"example.com": [(10, HOST)]})

        seen = await look_at_dns(DOMAIN, resolver=resolver, settings=SETTINGS)

        assert {each.record: each.status for each in seen.findings} == dict.fromkeys(Record, OK)
        assert all(each.error == "" for each in seen.findings)
        assert sorted(resolver.asked) == [
            ("cname", "psrp.example.com"),
            ("mx", "example.com"),
            ("txt", DKIM_NAME),
            ("txt", "example.com"),
        ]

    async def test_a_failing_record_is_unknown_and_the_others_are_not(self) -> None:
        """One broken name server hides nothing else."""
        resolver = FakeResolver(txt=RIGHT_TXT, failing=["psrp.example.com"])
        seen = await look_at_dns(DOMAIN, resolver=resolver, settings=SETTINGS)
        assert set(seen.unknown) == {(Record.RETURN_PATH, "")}
        assert len(seen.findings) == 3

    async def test_a_domain_that_is_not_there(self) -> None:
        """Everything is missing, with a sentence each."""
        seen = await look_at_dns(DOMAIN, resolver=FakeResolver(missing=["example.com"]), settings=SETTINGS)
        assert seen.exists is False
        assert {each.status for each in seen.findings} == {MISSING}
        assert all(each.error for each in seen.findings)


class TestSPF:
    @pytest.mark.parametrize(
        ("record", "status"),
        [
            (f"v=spf1 a:{HOST} ~all", OK),
            (f"V=SPF1 +A:{HOST.upper()}. -all", OK),
            (f"v=spf1 include:{RETURN_PATH} -all", OK),
            (f"v=spf1 redirect={HOST}", OK),
            ("v=spf1 +all", OK),
            ("v=spf1 -all", INVALID),
            (f"v=spf1 -all a:{HOST}", INVALID),  # RFC 7208 §5.1: nothing after "all" counts
            (f"v=spf1 -all redirect={HOST}", INVALID),  # §6.1
            (f"v=spf1 ?a:{HOST} -all", INVALID),
            (f"v=spf1 a:not-{HOST} -all", INVALID),
            ("v=spf1 a mx -all", INVALID),
            ("v=spf10 +all", MISSING),
            (f"spf2.0/pra a:{HOST}", MISSING),
            ("", MISSING),
        ],
    )
    async def test_must_let_our_host_through(self, record: str, status: DNSStatus) -> None:
        """By any of the words that RFC 7208 has for it."""
        assert await spf(record) is status

    async def test_two_records_are_none(self) -> None:
        """RFC 7208 §4.5: receivers count none of several."""
        resolver = FakeResolver(txt={"example.com": [f"v=spf1 a:{HOST} -all", "v=spf1 mx -all"]})
        seen = await look_at_dns(DOMAIN, resolver=resolver, settings=SETTINGS)
        (found,) = [each for each in seen.findings if each.record is Record.SPF]
        assert (found.status, "2 SPF records" in found.error) == (INVALID, True)

    async def test_ranges_must_hold_every_address(self) -> None:
        """Mail may leave from any of them."""
        addresses = {HOST: ["192.0.2.1", "2001:db8::1"]}
        assert await spf("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", addresses=addresses) is OK
        assert await spf("v=spf1 ip4:192.0.2.1 -all", addresses=addresses) is INVALID
        assert await spf("v=spf1 ip4:192.0.2.999/24 ip6: -all", addresses=addresses) is INVALID

    async def test_includes_are_followed(self) -> None:
        """Many owners keep one record for all their domains."""
        txt = {"example.com": ["v=spf1 include:_spf.example.com -all"], "_spf.example.com": [f"v=spf1 a:{HOST} -all"]}
        assert await spf("", txt=txt) is OK
        assert await spf("v=spf1 mx -all", mx={"example.com": [(10, HOST)]}) is OK

    async def test_hostile_includes_end(self) -> None:
        """RFC 7208 §4.6.4: ten look-ups; circles and macros lead nowhere."""
        names = [f"{number}.test" for number in range(100)]
        chain = {name: [f"v=spf1 include:{after} include:{name} -all"] for name, after in pairwise(names)}
        wide = "v=spf1 " + " ".join(f"include:{name} include:%{{i}}.{name} mx:{name}" for name in names)
        for record in ("v=spf1 include:0.test include:example.com -all", wide):
            resolver = FakeResolver(txt=chain | {"example.com": [record]})
            seen = await look_at_dns(DOMAIN, resolver=resolver, settings=SETTINGS)
            assert INVALID in {each.status for each in seen.findings if each.record is Record.SPF}
            assert len(resolver.asked) <= 4 + MAX_SPF_LOOKUPS

    @given(st.text())
    def test_any_text_is_read(self, text: str) -> None:
        """A stranger writes it."""
        for each in (text, f"v=spf1 {text}"):
            assert is_spf(each) in (True, False)
            passing_terms(each)


class TestDKIM:
    @pytest.mark.parametrize(
        ("found", "status", "says"),
        [
            ([DKIM_VALUE], OK, ""),
            (["k=ed25519;p= PUBLIC\t+KEY= ; t=s; h=sha1:sha256; s=email; n=ours"], OK, ""),
            ([], MISSING, "no TXT record"),
            ([DKIM_VALUE, "other"], INVALID, "2 TXT records"),
            ([DKIM_VALUE[:-4]], INVALID, "another key"),
            (["v=DKIM1; p="], INVALID, "revoked"),
            (["v=DKIM1; k=rsa; p=PUBLIC+KEY="], INVALID, "kind of key"),
            (["v=DKIM2; k=ed25519; p=PUBLIC+KEY="], INVALID, "version"),
            (["k=ed25519; h=sha1; p=PUBLIC+KEY="], INVALID, "SHA-256"),
            (["k=ed25519; s=tlsrpt; p=PUBLIC+KEY="], INVALID, "e-mail"),
            (["\x1b[2J" + "x" * 5000], INVALID, "no key"),
        ],
    )
    def test_must_publish_our_key(self, found: list[str], status: DNSStatus, says: str) -> None:
        """As a receiver reads it (RFC 6376 §3.6.1), not letter by letter as Postal."""
        finding = dkim_finding(DOMAIN, KEY, found)
        assert (finding.status, finding.selector) == (status, "eped-abcdef")
        assert says in finding.error
        assert finding.error.isprintable()
        assert len(finding.error) <= 400

    @given(st.lists(st.text(), max_size=2))
    def test_any_text_is_read(self, found: list[str]) -> None:
        """A stranger writes it."""
        assert dkim_finding(DOMAIN, KEY, found).error.isprintable()


class TestOthers:
    @pytest.mark.parametrize(
        ("target", "status"), [(RETURN_PATH, OK), (RETURN_PATH.upper() + ".", OK), (None, MISSING), ("x.test", INVALID)]
    )
    def test_return_path(self, target: str | None, status: DNSStatus) -> None:
        """An alias of ours or none at all."""
        assert return_path_finding(DOMAIN, target, RETURN_PATH).status is status

    @pytest.mark.parametrize(
        ("hosts", "status"),
        [
            (["x.test", HOST], OK),
            ([HOST.upper()], OK),
            ([], MISSING),
            (None, MISSING),
            (["x.test"], MISSING),
            ([""], INVALID),
        ],
    )
    def test_mx(self, hosts: list[str] | None, status: DNSStatus) -> None:
        """Most domains receive elsewhere: only a null MX is wrong."""
        assert mx_finding(DOMAIN, hosts, HOST).status is status


def check(at: datetime = AT, *, exists: bool = True, **statuses: DNSStatus) -> DNSCheck:
    """Return a check with these statuses."""
    findings = tuple(
        Finding(Record(name), status, "" if status is OK else f"{name} is bad") for name, status in statuses.items()
    )
    return DNSCheck(at, at, exists, findings)


class TestWentWrong:
    @pytest.mark.parametrize(
        ("before", "now", "told"),
        [
            (None, {"spf": OK, "mx": MISSING, "return_path": MISSING}, []),
            (None, {"spf": MISSING, "dkim": INVALID, "return_path": INVALID}, ["spf", "dkim", "return_path"]),
            ({"dkim": OK}, {"dkim": MISSING}, ["dkim"]),
            ({"dkim": MISSING}, {"dkim": MISSING}, []),
            ({"dkim": MISSING}, {"dkim": INVALID}, []),
            ({"dkim": MISSING, "spf": OK}, {"dkim": MISSING, "spf": INVALID}, ["spf"]),
            ({"mx": OK, "return_path": OK}, {"mx": MISSING, "return_path": MISSING}, ["mx", "return_path"]),
            ({"return_path": MISSING}, {"return_path": INVALID}, ["return_path"]),
            ({"dkim": MISSING}, {"dkim": OK}, []),
        ],
    )
    def test_is_told_once(
        self, before: dict[str, DNSStatus] | None, now: dict[str, DNSStatus], told: list[str]
    ) -> None:
        """What was right and is not, and what is wrong for the first time."""
        found = went_wrong(None if before is None else check(**before), check(**now), trusted=False)
        assert [each.record.value for each in found] == told

    def test_a_trusted_domain_outside_of_the_dns_is_meant_to_be(self) -> None:
        """Unless it was in the DNS before."""
        gone = check(exists=False, spf=MISSING, dkim=MISSING)
        assert went_wrong(None, gone, trusted=True) == []
        assert len(went_wrong(None, gone, trusted=False)) == 2
        assert len(went_wrong(check(spf=OK, dkim=MISSING), gone, trusted=True)) == 1


class TestNextCheck:
    def test_what_gave_no_answer_stays(self) -> None:
        """Not knowing changes nothing."""
        before = check(spf=OK, dkim=MISSING)
        seen = Seen(None, [Finding(Record.DKIM, MISSING, "other words")], {(Record.SPF, "")})

        after = next_check(before, seen, AT + HOUR)

        assert [(each.record, each.status) for each in after.findings] == [(Record.SPF, OK), (Record.DKIM, MISSING)]
        assert (after.at, after.since, after.exists) == (AT + HOUR, AT, True)

    def test_a_change_begins_anew(self) -> None:
        """Domains that change are looked at more often."""
        after = next_check(check(spf=OK), Seen(True, [Finding(Record.SPF, INVALID)]), AT + HOUR)
        assert after.since == AT + HOUR

    def test_waits_grow_while_nothing_changes(self) -> None:
        """Every hour at first, every day in the end: about eight checks on the first two days."""
        known, now, waits = check(), AT, []
        for _ in range(9):
            waits.append(wait_after(known, now, HOUR) / HOUR)
            now += waits[-1] * HOUR
        assert waits == [1, 1, 2, 4, 8, 16, 24, 24, 24]
        assert wait_after(None, AT, HOUR) == HOUR

    def test_event_says_the_worst_of_all_keys(self) -> None:
        """Payloads have one status for DKIM, as Postal's."""
        keys = (Finding(Record.DKIM, OK, selector="a"), Finding(Record.DKIM, MISSING, "b is missing", "b"))
        assert event_data("example.com", DNSCheck(AT, AT, exists=True, findings=keys)) == {
            "domain": "example.com",
            "dkim_status": "Missing",
            "dkim_error": "b is missing",
        }
