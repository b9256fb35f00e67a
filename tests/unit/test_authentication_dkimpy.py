"""Signatures and seals made by dkimpy, the reference implementation: ours must read them as it does."""

import time

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtp_node.authentication.results import Verdict
from tests.unit.test_authentication_inbound import FOREIGN, PLAIN, RSA, check, signed


class TestAgainstDkimpy:
    @pytest.mark.parametrize("header_form", [b"simple", b"relaxed"])
    @pytest.mark.parametrize("body_form", [b"simple", b"relaxed"])
    @pytest.mark.parametrize(
        "body",
        [b"", b"\r\n", b"Hello.\r\n\r\n\r\n", b"  a \t b  \r\n.\r\n..\r\n \r\n", b"no end", b"\xff\x80 8-bit\r\n"],
    )
    async def test_what_it_signs_verifies_here(self, header_form: bytes, body_form: bytes, body: bytes) -> None:
        """The reference implementation, in every canonical form of RFC 6376 §3.4."""
        head = (
            b"From:  User <user@dest.example>\r\nSUBJECT: a\r\n\tfolded   one\r\nTo: x@y.example\r\nTo: z@y.example\r\n"
        )
        raw = head + b"\r\n" + body
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        names = [b"from", b"to", b"to", b"subject", b"cc", b"from"]
        field = dkim.sign(
            raw, b"rsa", b"dest.example", private, canonicalize=(header_form, body_form), include_headers=names
        )

        results, _ = await check(field + raw)
        changed, _ = await check(field + raw.replace(b"x@y.example", b"w@y.example"))

        assert [each.verdict for each in results.dkim] == [Verdict.PASS]
        assert [each.verdict for each in changed.dkim] == [Verdict.FAIL]

    @pytest.mark.parametrize(
        "change",
        [
            (b"v=1;", b"v=2;"),
            (b"d=dest.example;", b"d=evil.example;"),
            (b"a=rsa-sha256;", b"a=rsa-sha1;"),
            (b"c=relaxed/relaxed;", b"c=relaxed/odd;"),
            (b" t=", b" x=1; t="),
            (b" t=", b" i=@other.example; t="),
            (b" t=", b" l=x; t="),
            (b" t=", b" s=rsa; t="),
        ],
    )
    async def test_bad_tags_are_permanent_errors(self, change: tuple[bytes, bytes]) -> None:
        """RFC 6376 §6.1.1, RFC 8301; the library agrees that none of them passes."""
        raw = signed()
        raw = raw[: raw.index(b"DKIM-Signature", 10)] + PLAIN

        results, _ = await check(raw.replace(*change))

        assert [each.verdict for each in results.dkim] == [Verdict.PERMERROR]


class TestARC:
    async def test_a_chain_verifies(self) -> None:
        """RFC 8617: a forwarder states what it saw, and seals it."""
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        stated = b"Authentication-Results: dest.example; spf=pass smtp.mailfrom=a@dest.example\r\n" + PLAIN
        fields = dkim.arc_sign(stated, b"rsa", b"dest.example", private, b"dest.example", timestamp=int(time.time()))

        results, _ = await check(b"".join(fields) + stated, FOREIGN)

        assert (results.arc.verdict, results.arc.domain, results.arc.instances) == (Verdict.PASS, "dest.example", 1)

    @pytest.mark.parametrize(
        "change",
        [
            (b"cv=none", b"cv=pass"),
            (b"spf=pass", b"spf=fail"),
            (b"Hello.", b"Pay me."),
            (b"ARC-Seal: i=1", b"ARC-Seal: i=2"),
            (b"ARC-Authentication-Results", b"X-Nothing"),
            (b"user@dest.example>", b"ceo@bank.example>"),
        ],
    )
    async def test_a_changed_chain_does_not(self, change: tuple[bytes, bytes]) -> None:
        """Each field and the mail itself are covered."""
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        stated = b"Authentication-Results: dest.example; spf=pass smtp.mailfrom=a@dest.example\r\n" + PLAIN
        fields = dkim.arc_sign(stated, b"rsa", b"dest.example", private, b"dest.example", timestamp=int(time.time()))

        results, _ = await check((b"".join(fields) + stated).replace(*change), FOREIGN)

        assert results.arc.verdict is Verdict.FAIL

    async def test_two_hosts_may_seal(self) -> None:
        """The second says that the first one's chain passed, and seals both."""
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        raw = b"Authentication-Results: dest.example; arc=none; spf=pass smtp.mailfrom=a@dest.example\r\n" + PLAIN
        first = dkim.arc_sign(raw, b"rsa", b"dest.example", private, b"dest.example", timestamp=int(time.time()))
        # The second host removes the first one's field, which has its own name (RFC 8601 §5).
        raw = b"Authentication-Results: dest.example; arc=pass\r\n" + b"".join(first) + PLAIN
        second = dkim.arc_sign(raw, b"rsa", b"dest.example", private, b"dest.example", timestamp=int(time.time()))

        results, _ = await check(b"".join(second) + raw, FOREIGN)

        assert (results.arc.verdict, results.arc.instances) == (Verdict.PASS, 2)
