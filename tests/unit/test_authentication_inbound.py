"""SPF, DKIM, DMARC and ARC of incoming mail, and what forgers put into it."""

import base64
import random
import re
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from shared.domain.tenancy import DKIMAlgorithm
from smtp_node.authentication.chain import MAX_SETS
from smtp_node.authentication.inbound import AT_ONCE_BYTES, Authentication, Envelope
from smtp_node.authentication.keys import SigningKey
from smtp_node.authentication.lookups import MAX_LOOKUPS
from smtp_node.authentication.results import Results, Verdict
from smtp_node.authentication.sign import sign
from smtp_node.authentication.verify import MAX_SIGNATURES
from tests.fakes.resolver import FakeResolver

US = "mx.edgepost.test"
RSA = rsa.generate_private_key(65537, 2048)
ED = Ed25519PrivateKey.generate()


def public(key: rsa.RSAPrivateKey | Ed25519PrivateKey) -> str:
    """Return the ``p=`` value of a key."""
    if isinstance(key, Ed25519PrivateKey):
        return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


KEYS = {
    "rsa._domainkey.dest.example": [f"v=DKIM1; k=rsa; p={public(RSA)}"],
    "ed._domainkey.dest.example": [f"v=DKIM1; k=ed25519; p={public(ED)}"],
}
RECORDS = KEYS | {
    "dest.example": ["v=spf1 ip4:192.0.2.0/24 -all"],
    "_dmarc.dest.example": ["v=DMARC1; p=reject; sp=quarantine"],
}
PLAIN = (
    b"From: User <user@dest.example>\r\nTo: rp@edgepost.test\r\nSubject: hi\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@dest.example>\r\n\r\nHello.\r\n"
)
GOOD = Envelope("192.0.2.7", "mail.dest.example", "user@dest.example")
FOREIGN = Envelope("198.51.100.7", "mail.dest.example", "user@dest.example")


def signed(raw: bytes = PLAIN, domain: str = "dest.example") -> bytes:
    """Return the mail with both our signatures."""
    keys = [
        SigningKey(domain, "rsa", DKIMAlgorithm.RSA, RSA),
        SigningKey(domain, "ed", DKIMAlgorithm.ED25519, ED),
    ]
    return sign(raw, keys, at=datetime(2026, 1, 1, tzinfo=UTC)) + raw


async def check(
    raw: bytes, envelope: Envelope = GOOD, *, failing: tuple[str, ...] = (), **records: list[str]
) -> tuple[Results, FakeResolver]:
    """Check a mail against these TXT records; dots in names are written as ``__``."""
    told = RECORDS | {name.replace("__", "."): value for name, value in records.items()}
    resolver = FakeResolver(
        txt=told,
        addresses={"mail.dest.example": ["192.0.2.7", "2001:db8::7"], "a.example": ["192.0.2.7"]},
        mx={"dest.example": [(10, "mail.dest.example")]},
        failing=failing,
    )
    return await Authentication(resolver, US).check(raw, envelope), resolver


def verdicts(results: Results) -> tuple[str, list[str], str]:
    """Return SPF, DKIM and DMARC in short."""
    return results.spf.verdict.value, [each.verdict.value for each in results.dkim], results.dmarc.verdict.value


class TestAtOnce:
    @pytest.mark.parametrize("mail", [signed(), PLAIN, b"no head at all"], ids=["signed", "plain", "no mail"])
    @pytest.mark.parametrize("envelope", [GOOD, FOREIGN], ids=["good", "foreign"])
    async def test_what_is_at_hand_gives_the_same_results_and_asks_nobody(
        self, mail: bytes, envelope: Envelope
    ) -> None:
        """The short way must not judge otherwise than the long one."""
        far = FakeResolver(txt=RECORDS)
        near = FakeResolver(txt=RECORDS)
        near.kept = {*RECORDS, "_dmarc.edgepost.test"}

        long, short = [await Authentication(each, US).check(mail, envelope) for each in (far, near)]

        assert short == long
        assert far.asked
        assert near.asked == []

    @pytest.mark.parametrize("name", list(RECORDS))
    async def test_one_missing_answer_is_asked_for(self, name: str) -> None:
        """The checks then begin anew in a thread."""
        resolver = FakeResolver(txt=RECORDS)
        resolver.kept = set(RECORDS) - {name}

        results = await Authentication(resolver, US).check(signed(), GOOD)

        assert verdicts(results) == ("pass", ["pass", "pass"], "pass")
        assert ("txt", name) in resolver.asked

    async def test_long_records_and_large_mail_go_to_a_thread(self) -> None:
        """What reading them costs is their owner's choice: other sessions must not wait for it."""
        slow = {"dest.example": ["v=spf1" + " ip4:192.0.2.0/24" * 500]}
        long = FakeResolver(txt=RECORDS | slow)
        large = FakeResolver(txt=RECORDS)
        long.kept = large.kept = set(RECORDS)

        await Authentication(long, US).check(PLAIN, GOOD)
        await Authentication(large, US).check(PLAIN + b"x" * AT_ONCE_BYTES, GOOD)

        assert ("txt", "dest.example") in long.asked
        assert ("txt", "dest.example") in large.asked


class TestCheck:
    async def test_everything_passes(self) -> None:
        """A mail as it should be, with both algorithms."""
        results, _ = await check(signed())

        assert verdicts(results) == ("pass", ["pass", "pass"], "pass")
        assert (results.dkim[0].domain, results.dmarc.policy) == ("dest.example", "reject")

    async def test_a_forger_fails(self) -> None:
        """No signature, a foreign host, a strict policy."""
        results, _ = await check(PLAIN, FOREIGN)

        assert verdicts(results) == ("fail", [], "fail")

    async def test_forwarded_mail_passes_by_its_signature(self) -> None:
        """A forwarder breaks SPF; DMARC needs one of the two."""
        results, _ = await check(signed(), FOREIGN)

        assert verdicts(results) == ("fail", ["pass", "pass"], "pass")

    async def test_a_changed_body_fails(self) -> None:
        """What was signed is not what came."""
        results, _ = await check(signed().replace(b"Hello.", b"Pay me."), FOREIGN)

        assert verdicts(results) == ("fail", ["fail", "fail"], "fail")
        assert results.dkim[0].reason == "the body was changed"

    async def test_a_second_from_fails(self) -> None:
        """Signed once, shown twice: the reader might see the other one (RFC 6376 §8.15)."""
        results, _ = await check(b"From: ceo@dest.example\r\n" + signed(), FOREIGN)

        assert verdicts(results)[1:] == (["fail", "fail"], "permerror")

    async def test_another_domains_signature_proves_nothing_about_the_author(self) -> None:
        """Everybody can sign for a domain of their own."""
        raw = PLAIN.replace(b"user@dest.example", b"ceo@bank.example")
        results, _ = await check(
            signed(raw), Envelope("192.0.2.7", "x", "user@dest.example"), _dmarc__bank__example=["v=DMARC1; p=reject"]
        )

        assert verdicts(results) == ("pass", ["pass", "pass"], "fail")

    @pytest.mark.parametrize(
        ("mode", "verdict"), [("", "pass"), ("; adkim=r", "pass"), ("; adkim=s", "fail"), ("; adkim=s; aspf=s", "fail")]
    )
    async def test_alignment(self, mode: str, verdict: str) -> None:
        """RFC 9989 §4.4: relaxed compares organizations, strict whole names."""
        raw = PLAIN.replace(b"user@dest.example", b"user@news.dest.example")
        strict_spf = Envelope("198.51.100.7", "x", "user@dest.example")
        results, _ = await check(signed(raw), strict_spf, _dmarc__news__dest__example=[f"v=DMARC1; p=reject{mode}"])

        assert results.dmarc.verdict.value == verdict

    async def test_a_subdomain_inherits_its_organizations_policy(self) -> None:
        """RFC 9989 §4.10: with ``sp`` if there is one."""
        raw = PLAIN.replace(b"user@dest.example", b"user@news.dest.example")
        results, _ = await check(raw, FOREIGN)

        assert (results.dmarc.verdict, results.dmarc.policy) == (Verdict.FAIL, "quarantine")

    async def test_bounces_are_judged_by_helo(self) -> None:
        """RFC 7208 §2.4: a null sender has no domain."""
        results, _ = await check(
            PLAIN, Envelope("192.0.2.7", "mail.dest.example", ""), mail__dest__example=["v=spf1 a -all"]
        )

        assert (results.spf.verdict, results.spf.domain) == (Verdict.PASS, "mail.dest.example")
        # SPF of HELO proves nothing about the author (RFC 9989 §4.1).
        assert results.dmarc.verdict is Verdict.FAIL

    @pytest.mark.parametrize("address", ["2001:db8::7", "192.0.2.7"])
    async def test_both_families(self, address: str) -> None:
        """A and MX mechanisms look at the client's own family."""
        results, _ = await check(PLAIN, Envelope(address, "x", "user@dest.example"), dest__example=["v=spf1 mx -all"])

        assert results.spf.verdict is Verdict.PASS


class TestNotKnowing:
    async def test_is_stated_as_temporary(self) -> None:
        """A DNS that is away must not make good mail look forged."""
        results, _ = await check(
            signed(),
            failing=("dest.example", "rsa._domainkey.dest.example", "ed._domainkey.dest.example"),
        )

        assert verdicts(results) == ("temperror", ["temperror", "temperror"], "temperror")

    async def test_no_records_are_no_results(self) -> None:
        """Most of the world publishes something; the rest is not forged."""
        raw = PLAIN.replace(b"dest.example", b"none.example")
        results, _ = await check(raw, Envelope("192.0.2.7", "x", "user@none.example"))

        assert verdicts(results) == ("none", [], "none")

    async def test_a_slow_dns_ends_with_the_budget(self) -> None:
        """A client waits for our reply meanwhile."""
        resolver = FakeResolver(txt=RECORDS)

        results = await Authentication(resolver, US, budget_s=0).check(signed(), GOOD)

        assert verdicts(results) == ("temperror", ["temperror", "temperror"], "temperror")
        assert resolver.asked == []


class TestHostile:
    async def test_spf_stops_at_ten_lookups(self) -> None:
        """RFC 7208 §4.6.4: a chain of includes is an attack on the DNS."""
        chain = {f"i{n}.example": [f"v=spf1 include:i{n + 1}.example -all"] for n in range(40)}
        resolver = FakeResolver(txt=chain)

        results = await Authentication(resolver, US).check(PLAIN, Envelope("192.0.2.7", "x", "a@i0.example"))

        assert results.spf.verdict is Verdict.PERMERROR
        assert len([name for kind, name in resolver.asked if re.match(r"i\d", name)]) <= 12

    @pytest.mark.parametrize(
        "record",
        [
            "v=spf1 include:dest.example -all",
            "v=spf1 " + "a:x.example " * 40 + "-all",
            "v=spf1 " + "exists:%{i}.%{s}.example " * 20,
            "v=spf1 a:%{z}.example",
            "v=spf1 ip4:999.0.0.0/99",
            "v=spf1 redirect=dest.example",
            "v=spf1 \ufffd -all",
            "v=spf1 " + "(" * 3000,
            "v=spf1 ptr:%{d}%{d}%{d}%{d}%{d}%{d} mx/0//0 -all",
            "v=spf1 exp=%{" + "l" * 500 + "}.example -all",
            "v=spf1 a/33//129",
        ],
    )
    async def test_broken_spf_records_end_in_a_result(self, record: str) -> None:
        """The record is a stranger's; it must neither loop nor fail."""
        results, resolver = await check(PLAIN, FOREIGN, dest__example=[record])

        assert results.spf.verdict in list(Verdict)
        assert len(resolver.asked) <= MAX_LOOKUPS

    async def test_many_signatures_cost_few_lookups(self) -> None:
        """A thousand signatures would be a thousand look-ups and hashes of the body."""
        field = signed()[: -len(PLAIN)].split(b"DKIM-Signature:")[1]
        raw = b"".join(b"DKIM-Signature:" + field.replace(b"s=rsa", b"s=s%d" % number) for number in range(500)) + PLAIN

        results, resolver = await check(raw)

        assert len(results.dkim) == MAX_SIGNATURES
        assert len([name for _, name in resolver.asked if "_domainkey" in name]) == MAX_SIGNATURES

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "v=DKIM1; p=",
            "v=DKIM1; p=!!!",
            "v=DKIM1; k=rsa; p=" + base64.b64encode(b"x" * 300).decode(),
            "v=DKIM1; k=rsa; p=" + "A" * 60_000,
            f"v=DKIM1; k=rsa; p={public(RSA)[:-20]}",
            "v=DKIM1; k=ed25519; p=" + base64.b64encode(b"\0" * 32).decode(),
        ],
    )
    async def test_bad_keys_are_no_crash(self, key: str) -> None:
        """An 8,000-bit key with a huge exponent takes pure Python seconds."""
        results, _ = await check(signed(), rsa___domainkey__dest__example=[key])

        assert results.dkim[0].verdict in (Verdict.PERMERROR, Verdict.FAIL)
        assert results.dkim[1].verdict is Verdict.PASS

    async def test_a_body_that_anybody_may_append_to_is_no_proof(self) -> None:
        """RFC 6376 §8.2: with ``l=`` the rest of the body is unsigned."""
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        field = dkim.sign(PLAIN, b"rsa", b"dest.example", private, include_headers=[b"from"], length=True)

        results, _ = await check(field + PLAIN + b"Pay me.\r\n", FOREIGN)

        assert verdicts(results)[1:] == (["policy"], "fail")

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"From: a@dest.example, b@bank.example\r\n",
            b"From: (a@bank.example) b@dest.example\r\n",
            b"From: no address\r\n",
            b"From: =?utf-8?q?ceo=40bank=2Eexample?= <user@dest.example>\r\n",
        ],
    )
    async def test_an_author_who_could_be_two_never_passes(self, head: bytes) -> None:
        """CVE-2023-27043 and its like: readers disagree, so no result is a pass."""
        raw = head + b"Subject: x\r\n\r\nx\r\n"

        results, _ = await check(raw)

        assert results.dmarc.verdict is not Verdict.PASS

    @pytest.mark.parametrize("seed", range(30))
    async def test_damaged_signatures_and_seals_end_in_a_result(self, seed: int) -> None:
        """Every byte of these fields is a stranger's."""
        rng = random.Random(seed)
        chain = (
            b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=dest.example; s=rsa; t=1; b=AAAA\r\n"
            b"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=dest.example; s=rsa; h=from;"
            b" bh=AAAA; b=AAAA\r\n"
            b"ARC-Authentication-Results: i=1; dest.example; spf=pass\r\n"
        )
        raw = bytearray(chain + signed())
        end = raw.index(b"From: User")
        for _ in range(rng.randrange(1, 12)):
            raw[rng.randrange(end)] = rng.choice(b";=: \tabc\x80\xff0123")

        results, _ = await check(bytes(raw))

        assert results.arc.verdict in (Verdict.NONE, Verdict.FAIL)

    async def test_long_chains_are_not_followed(self) -> None:
        """Fifty sets are a hundred verifications (RFC 8617 §4.2.1)."""
        chain = b"".join(
            b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=dest.example; s=rsa; b=AAAA\r\n" % number for number in range(50)
        )

        results, resolver = await check(chain + PLAIN)

        assert (results.arc.verdict, results.arc.instances) == (Verdict.FAIL, 50)
        assert not [name for _, name in resolver.asked if "_domainkey" in name]
        assert MAX_SETS < 50

    async def test_a_mail_without_a_readable_head_is_checked_as_far_as_it_goes(self) -> None:
        """The envelope is there whatever the head is."""
        results, _ = await check(b"no head at all\r\n\r\nx\r\n")

        assert verdicts(results) == ("pass", [], "none")
