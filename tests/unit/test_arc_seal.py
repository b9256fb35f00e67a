"""ARC seals of mail that is passed on: whole for our own checks and for the reference implementation."""

from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.domain.tenancy import DKIMAlgorithm
from smtp_node.authentication.keys import SigningKey
from smtp_node.authentication.results import Verdict
from smtp_node.authentication.seal import seal, sealing_key
from tests.unit.test_authentication_inbound import ED, KEYS, PLAIN, RSA, US, check, signed

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = SigningKey("dest.example", "rsa", DKIMAlgorithm.RSA, RSA)
STATED = f"Authentication-Results: {US};\r\n spf=pass smtp.mailfrom=user@dest.example;\r\n arc=".encode()
NONE, PASSED = STATED + b"none\r\n", STATED + b"pass (i=1 dest.example)\r\n"


def sealed(raw: bytes, key: SigningKey = KEY) -> bytes:
    """Return the mail with our set on top."""
    return seal(raw, key, authserv_id=US, at=AT) + raw


def reference(raw: bytes) -> bytes:
    """Return what dkimpy says of the chain: pass, fail or none."""
    zone = {name.encode() + b".": texts[0].encode() for name, texts in KEYS.items()}
    return dkim.arc_verify(raw, dnsfunc=lambda name, **_: zone.get(name))[0]  # type: ignore[no-any-return]


class TestSeal:
    @pytest.mark.parametrize("body", [b"", b"Hello.\r\n\r\n\r\n", b"  a \t b  \r\n..\r\n", b"no end", b"\xff\x80\r\n"])
    async def test_a_first_seal_is_whole(self, body: bytes) -> None:
        """For our own checks and for dkimpy, whatever the body ends with."""
        raw = sealed(NONE + PLAIN.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body)

        results, _ = await check(raw)

        assert (results.arc.verdict, results.arc.domain, results.arc.instances) == (Verdict.PASS, "dest.example", 1)
        assert reference(raw) == b"pass"

    async def test_a_second_seal_continues_the_chain(self) -> None:
        """The host after us sees both, as our checks saw the first."""
        raw = sealed(PASSED + sealed(NONE + signed()))

        results, _ = await check(raw)

        assert (results.arc.verdict, results.arc.instances) == (Verdict.PASS, 2)
        assert b"cv=pass" in raw.partition(b"ARC-Message-Signature")[0]
        assert reference(raw) == b"pass"

    async def test_continues_what_dkimpy_sealed(self) -> None:
        """A chain of another implementation."""
        private = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        fields = dkim.arc_sign(NONE + PLAIN, b"rsa", b"dest.example", private, US.encode(), timestamp=1767225600)
        raw = sealed(PASSED + b"".join(fields) + NONE + PLAIN)

        results, _ = await check(raw)

        assert (results.arc.verdict, results.arc.instances) == (Verdict.PASS, 2)
        assert reference(raw) == b"pass"

    async def test_a_change_breaks_it(self) -> None:
        """Otherwise a seal would prove nothing."""
        raw = sealed(NONE + PLAIN)

        for before, after in ((b"Hello", b"Hullo"), (b"Subject: hi", b"Subject: ho"), (b"spf=pass", b"spf=none")):
            results, _ = await check(raw.replace(before, after))
            assert results.arc.verdict is Verdict.FAIL

    async def test_ed25519_seals_too(self) -> None:
        """A domain may have no RSA key; with both, RSA is taken, which everybody verifies."""
        ed = SigningKey("dest.example", "ed", DKIMAlgorithm.ED25519, ED)

        results, _ = await check(sealed(NONE + PLAIN, ed))

        assert results.arc.verdict is Verdict.PASS
        assert sealing_key([ed, KEY]) is KEY
        assert sealing_key([ed]) is ed
        assert sealing_key([]) is None

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"Authentication-Results: other.example; arc=pass\r\n",
            STATED + b"fail (i=1 dest.example)\r\n" + b"ARC-Seal: i=1; a=rsa-sha256\r\n",
            PASSED + b"ARC-Seal: i=1; b=\r\n",
            PASSED + b"ARC-Seal: i=2; b=\r\nARC-Message-Signature: i=2; b=\r\nARC-Authentication-Results: i=2; x\r\n",
            f'Authentication-Results: {US}; spf=fail smtp.mailfrom="x; arc=pass"@d.test; arc=fail\r\n'.encode()
            + b"ARC-Seal: i=1; b=\r\nARC-Message-Signature: i=1; b=\r\nARC-Authentication-Results: i=1; x\r\n",
            PASSED
            + b"".join(
                b"ARC-Seal: i=%d; b=\r\nARC-Message-Signature: i=%d; b=\r\nARC-Authentication-Results: i=%d; x\r\n"
                % (number, number, number)
                for number in range(1, 11)
            ),
        ],
    )
    def test_what_cannot_be_believed_is_not_sealed(self, head: bytes) -> None:
        """Unchecked mail, a foreign field, a broken chain, half a set, a forged word, no room for another set."""
        assert seal(head + PLAIN, KEY, authserv_id=US, at=AT) == b""
