"""What is stated about incoming mail, and what must not be believed of it."""

import re

import pytest

from shared.domain.headers import split_head
from smtp_node.authentication.dmarc import author_domain, organizational
from smtp_node.authentication.inbound import Authentication, Envelope
from smtp_node.authentication.results import without_forged
from tests.fakes.resolver import FakeResolver
from tests.unit.test_authentication_inbound import FOREIGN, PLAIN, RECORDS, US, check, signed


class TestField:
    async def test_states_all_results(self) -> None:
        """RFC 8601 §2.2; what stands in it is read by programs."""
        results, _ = await check(signed())

        text = results.to_field(US).decode()

        assert text.startswith(
            f"Authentication-Results: {US};\r\n spf=pass smtp.mailfrom=user@dest.example;\r\n dkim=pass"
        )
        assert "header.d=dest.example header.s=rsa header.a=rsa-sha256 header.b=" in text
        assert text.endswith("arc=none\r\n")
        assert not re.search(r"\r\n(?! )", text[:-2])

    async def test_strangers_words_cannot_leave_their_place(self) -> None:
        """HELO and the envelope sender are whatever the client says."""
        evil = Envelope("192.0.2.7", "x", 'a"; dmarc=pass header.from=bank.example\r\nX: y@dest.example')

        results, _ = await check(PLAIN.replace(b"dest", b"other"), evil)

        text = results.to_field(US).decode()
        assert "\r\nX:" not in text
        outside = re.sub(r'"[^"]*"', "", text)
        assert "dmarc=pass" not in outside


class TestWithoutForged:
    @pytest.mark.parametrize(
        "forged",
        [
            b"Authentication-Results: mx.edgepost.test; spf=pass\r\n",
            b"authentication-results:MX.EDGEPOST.TEST;dkim=pass\r\n",
            b"Authentication-Results: (a (nested) comment) mx.edgepost.test (x) 1; spf=pass\r\n",
            b'Authentication-Results: "mx.edgepost.test"; spf=pass\r\n',
            b"Authentication-Results:\r\n mx.edgepost.test\r\n ; spf=pass\r\n",
            b"Authentication-Results: mx.edgepost.test.; spf=pass\r\n",
            b"Authentication-Results: mx.edgepost.test\r\n",
            b"Authentication-Results: ; spf=pass\r\n",
            b"Authentication-Results: (open mx.edgepost.test; spf=pass\r\n",
        ],
    )
    def test_removes_what_claims_to_be_ours(self, forged: bytes) -> None:
        """RFC 8601 §5: else everybody could state a pass in our name."""
        raw = b"Received: x\r\n" + forged + PLAIN

        assert without_forged(raw, split_head(raw), US) == b"Received: x\r\n" + PLAIN

    def test_leaves_others_byte_for_byte(self) -> None:
        """What another host stated is that host's word, and signatures may cover it."""
        raw = b"Authentication-Results: other.test; spf=pass\r\n" + PLAIN

        assert without_forged(raw, split_head(raw), US) == raw

    async def test_stated_mail_begins_with_our_field(self) -> None:
        """A reader takes the topmost one."""
        resolver = FakeResolver(txt=RECORDS)
        forged = b"Authentication-Results: mx.edgepost.test; dmarc=pass\r\n" + PLAIN

        field, clean, results = await Authentication(resolver, US).stated(forged, FOREIGN)
        raw = field + clean

        assert raw == results.to_field(US) + PLAIN
        assert raw.count(b"Authentication-Results") == 1


class TestNames:
    @pytest.mark.parametrize(
        ("domain", "organization"),
        [
            ("dest.example", "dest.example"),
            ("a.b.dest.co.uk", "dest.co.uk"),
            ("co.uk", "co.uk"),
            ("user.github.io", "user.github.io"),
        ],
    )
    def test_organizational_domains(self, domain: str, organization: str) -> None:
        """Two customers of one registry are not one organization."""
        assert organizational(domain) == organization

    def test_the_author_is_one_domain_or_none(self) -> None:
        """A display name that looks like an address counts as one."""
        assert author_domain(split_head(b'From: "ceo@bank.example" <a@dest.example>\r\n\r\n')) == ""
        assert author_domain(split_head(b"From: A <a@Dest.Example>\r\n\r\n")) == "dest.example"
