import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.dkim_keys import KeyPair, new_key, wrap_context
from shared.domain.dns_records import dkim_record
from shared.domain.errors import InvalidValue, MalformedMessage
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain
from smtp_node.authentication.keys import SigningKey, SigningKeys, load_key
from smtp_node.authentication.sign import ALWAYS_SIGNED, sign

SBIN = "/usr/sbin:/usr/bin"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAIRS = {algorithm: new_key(algorithm) for algorithm in DKIMAlgorithm}
KEYS = [load_key("example.com", name.value, name, pair.private) for name, pair in PAIRS.items()]
RSA, ED25519 = KEYS
MESSAGE = (
    b"From: Ann <ann@example.com>\r\nTo: bob@example.net\r\nSubject: Hello\r\n  folded\r\n"
    b"Date: Sun, 01 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nHi  there \r\n.dot\r\n\r\nend\t\r\n\r\n\r\n"
)
SAMPLES = {
    "plain": MESSAGE,
    "no body": MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
    "no empty line": MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n",
    "no final line end": MESSAGE.rstrip() + b" \t",
    "only empty lines": MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n\r\n\r\n \r\n",
    "8 bit": MESSAGE + "Grüße \xa0\r\n".encode(),
    "latin-1": MESSAGE + b"Gr\xfc\xdfe\r\n",
    "long lines": MESSAGE + b"x" * 5000 + b"\r\n",
    "repeated fields": b"List-Id: <a>\r\nTo: x@y.z\r\nSubject: other\r\n" + MESSAGE,
    "list": b"List-Unsubscribe: <https://a.b/c>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" + MESSAGE,
    "utf-8 header": "Subject: Grüße\r\nReply-To: ü@example.com\r\n".encode() + MESSAGE,
}


def records(name: bytes, timeout: float = 0) -> bytes:
    """Serve the published halves as the DNS would."""
    for algorithm, pair in PAIRS.items():
        key = DKIMKey(algorithm, algorithm.value, pair.public, "")
        published, value = dkim_record("example.com", key)
        if name.decode().rstrip(".") == published:
            return value.encode()
    return b""


def verified(message: bytes, count: int = 2) -> list[bool]:
    """Verify the first signatures as a receiver with dkimpy does."""
    sent = message if message.endswith(b"\r\n") else message + b"\r\n"
    return [dkim.DKIM(sent).verify(idx=index, dnsfunc=records) for index in range(count)]


class TestSign:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_both_signatures_verify(self, name: str) -> None:
        """A receiver without our code must find every kind of message intact."""
        raw = SAMPLES[name]

        assert verified(sign(raw, KEYS, at=AT) + raw) == [True, True]

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b".", b"\xff", b"\r\n\r\n"]), max_size=40).map(b"".join)
    )
    def test_any_body_verifies(self, body: bytes) -> None:
        """No white space may make a difference between our form and the verifier's."""
        raw = b"From: a@example.com\r\nSubject:  x \t y\r\n\r\n" + body

        assert verified(sign(raw, KEYS, at=AT) + raw) == [True, True]

    @pytest.mark.skipif(shutil.which("opendkim", path=SBIN) is None, reason="opendkim is not installed")
    @pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"no final line end", "no empty line"}))
    def test_opendkim_verifies(self, name: str, tmp_path: Path) -> None:
        """Another implementation, in C, must agree; it knows RSA only."""
        message, public, settings_file = tmp_path / "message", tmp_path / "keys", tmp_path / "settings"
        message.write_bytes(sign(SAMPLES[name], [RSA], at=AT) + SAMPLES[name])
        public.write_text(f"rsa._domainkey.example.com v=DKIM1; k=rsa; p={PAIRS[DKIMAlgorithm.RSA].public}\n")
        settings_file.write_text(f"TestPublicKeys {public}\nMode v\n")

        result = subprocess.run(
            ["opendkim", "-x", settings_file, "-t", message],
            capture_output=True,
            check=False,
            text=True,
            env={"PATH": SBIN},
        )

        assert "succeeded" in result.stdout + result.stderr, result

    @pytest.mark.parametrize("name", ALWAYS_SIGNED)
    def test_an_added_field_breaks_it(self, name: bytes) -> None:
        """A replayed copy must not be given another From, Subject or unsubscribe link (RFC 6376 §8.15)."""
        signed = sign(MESSAGE, [RSA], at=AT) + MESSAGE

        assert verified(name + b": evil@example.org\r\n" + signed, count=1) == [False]

    @pytest.mark.parametrize(
        ("before", "after"), [(b"end\t\r\n", b"end\t\r\nmore\r\n"), (b"Hello", b"Hullo"), (b"Hi", b"Ho")]
    )
    def test_a_change_breaks_it(self, before: bytes, after: bytes) -> None:
        """Appending counts as a change: there is no l=."""
        changed = (sign(MESSAGE, [RSA], at=AT) + MESSAGE).replace(before, after)

        try:
            result = verified(changed, count=1)
        except dkim.ValidationError:
            result = [False]
        assert result == [False]

    def test_says_what_it_must_and_no_more(self) -> None:
        """t= is the moment of signing; l= and x= would weaken it."""
        field = sign(MESSAGE, [RSA], at=AT)
        tags = dict(part.strip().split(b"=", 1) for part in field.partition(b":")[2].split(b";"))

        assert sorted(tags) == [b"a", b"b", b"bh", b"c", b"d", b"h", b"s", b"t", b"v"]
        assert (tags[b"a"], tags[b"c"], tags[b"t"]) == (b"rsa-sha256", b"relaxed/relaxed", b"1772366400")

    def test_lists_each_field_once_more_than_it_is_there(self) -> None:
        """RFC 6376 §5.4.2: the extra name signs the absence of another one."""
        field = sign(b"Sender: x@example.com\r\n" + MESSAGE, [ED25519], at=AT)
        found = re.search(rb"h=([^;]*)", field)
        assert found
        names = re.split(rb"\s*:\s*", found[1])

        assert [names.count(name) for name in (b"from", b"sender", b"cc", b"references")] == [2, 2, 1, 0]

    def test_lines_are_short(self) -> None:
        """RFC 5322 §2.1.1: 78 characters, so that nobody folds it again."""
        field = sign(SAMPLES["repeated fields"], KEYS, at=AT)

        assert max(len(line) for line in field.split(b"\r\n")) <= 78
        assert field.endswith(b"\r\n")

    def test_is_the_same_every_time(self) -> None:
        """The same attempt repeated sends the same bytes (PKCS #1 v1.5 and Ed25519 need no randomness)."""
        assert sign(MESSAGE, KEYS, at=AT) == sign(MESSAGE, KEYS, at=AT)

    def test_no_keys_give_nothing(self) -> None:
        """A domain without keys sends unsigned."""
        assert sign(MESSAGE, [], at=AT) == b""

    @pytest.mark.parametrize("raw", [b"From: a\n\nb", b"From: a\r\n\r\nb\rc\r\n", b"no colon here\r\n\r\n"])
    def test_refuses_what_would_not_verify(self, raw: bytes) -> None:
        """Other hosts change lone line ends, so such a signature would break on the way."""
        with pytest.raises(MalformedMessage):
            sign(raw, [RSA], at=AT)


class TestNewKey:
    def test_rsa_has_2048_bits(self) -> None:
        """RFC 8301 §3.2; Postal's 1024 are counted as broken by big receivers soon."""
        assert RSA.private.key_size == 2048  # type: ignore[union-attr]

    def test_the_private_half_is_not_shown(self) -> None:
        """A key in a log line is a key lost."""
        assert "private" not in repr(PAIRS[DKIMAlgorithm.RSA])
        assert "private" not in repr(RSA)

    def test_ed25519_publishes_32_bytes(self) -> None:
        """RFC 8463 §4: the bare key, without ASN.1 around it."""
        assert len(PAIRS[DKIMAlgorithm.ED25519].public) == 44


class TestLoadKey:
    def test_reads_pem_too(self) -> None:
        """Keys brought along from Postal are PEM."""
        pem = generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

        assert load_key("example.com", "s", DKIMAlgorithm.RSA, pem).selector == "s"

    @pytest.mark.parametrize(
        ("algorithm", "private"),
        [(DKIMAlgorithm.RSA, b"nonsense"), (DKIMAlgorithm.RSA, PAIRS[DKIMAlgorithm.ED25519].private)],
        ids=["nonsense", "ed25519 for rsa"],
    )
    def test_refuses_others(self, algorithm: DKIMAlgorithm, private: bytes) -> None:
        """A key of the wrong algorithm would make signatures that nobody can verify."""
        with pytest.raises(InvalidValue):
            load_key("example.com", "s", algorithm, private)


class CountingKeyring:
    """Unwraps ``context|hex``; counts."""

    def __init__(self) -> None:
        self.unwrapped = 0

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return text that names its context."""
        return f"{context}|{secret.hex()}"

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return the secret of this context."""
        self.unwrapped += 1
        wrapped_for, _, secret = wrapped.partition("|")
        if wrapped_for != context:
            raise InvalidValue("not of this context")
        return bytes.fromhex(secret)


class TestSigningKeys:
    def _domain(self, keyring: CountingKeyring, name: str = "example.com", *, of: str = "") -> Domain:
        pair: KeyPair = PAIRS[DKIMAlgorithm.ED25519]
        wrapped = keyring.wrap(pair.private, context=wrap_context(of or name, "s"))
        key = DKIMKey(DKIMAlgorithm.ED25519, "s", pair.public, wrapped)
        return Domain(name, 1, None, [key], "token", AT)  # type: ignore[arg-type]

    def test_unwraps_once(self) -> None:
        """Parsing a key for every message would cost more than signing with it."""
        keyring = CountingKeyring()
        keys = SigningKeys(keyring)
        domain = self._domain(keyring)

        first, second = keys.of(domain), keys.of(domain)

        assert keyring.unwrapped == 1
        assert isinstance(first[0], SigningKey)
        assert first[0] is second[0]

    def test_forgets_the_least_used(self) -> None:
        """A node of many thousand domains keeps its memory."""
        keyring = CountingKeyring()
        keys = SigningKeys(keyring, most=1)

        for name in ("a.example", "b.example", "a.example"):
            keys.of(self._domain(keyring, name))

        assert keyring.unwrapped == 3

    def test_a_key_moved_to_another_domain_does_not_open(self) -> None:
        """Who can write records must not sign for others."""
        keyring = CountingKeyring()

        with pytest.raises(InvalidValue):
            SigningKeys(keyring).of(self._domain(keyring, "b.example", of="a.example"))


class TestDNSRecord:
    def test_carries_the_public_half(self) -> None:
        """What is published is what verifies."""
        public = PAIRS[DKIMAlgorithm.ED25519].public
        key = DKIMKey(DKIMAlgorithm.ED25519, "s1", public, "")

        name, value = dkim_record("example.com", key)

        assert name == "s1._domainkey.example.com"
        assert value == f"v=DKIM1; k=ed25519; p={public}"
