"""DKIM: CPU for each message, beside the bare OpenSSL signature that no signer can do without."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import measure
from shared.domain.dkim_keys import new_key
from shared.domain.tenancy import DKIMAlgorithm
from smtp_node.authentication.keys import SigningKey, load_key
from smtp_node.authentication.sign import sign

REPEATS = 400
DKIMPY_REPEATS = 40


def _cpu_us(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median of several rounds of CPU time for each call, in microseconds."""
    rounds = []
    for _ in range(max(3, measure.ROUNDS)):
        started = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - started) / repeats * 1e6)
    return measure.middle(rounds)


def _key(algorithm: DKIMAlgorithm) -> SigningKey:
    return load_key("example.com", "bench", algorithm, new_key(algorithm).private)


def run() -> str:
    """Measure and return the table."""
    rsa, ed25519 = _key(DKIMAlgorithm.RSA), _key(DKIMAlgorithm.ED25519)
    assert isinstance(rsa.private, RSAPrivateKey)
    private, padding, digest = rsa.private, PKCS1v15(), SHA256()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    at = datetime.now(UTC)
    bare = _cpu_us(lambda: private.sign(b"x" * 500, padding, digest))
    rows = [["bare OpenSSL RSA-2048 signature", f"{bare:,.0f}", "", "1.0"]]
    small, large = (measure.message(size).replace(b"\n", b"\r\n") for size in (5000, 100_000))
    for name, keys in (
        ("Edgepost, RSA-2048", [rsa]),
        ("Edgepost, Ed25519", [ed25519]),
        ("Edgepost, both", [rsa, ed25519]),
    ):
        cost = _cpu_us(lambda keys=keys: sign(small, keys, at=at))
        big = _cpu_us(lambda keys=keys: sign(large, keys, at=at))
        rows.append([name, f"{cost:,.0f}", f"{big:,.0f}", f"{cost / bare:.1f}"])
    with_dkimpy = [
        _cpu_us(
            lambda raw=raw: dkim.sign(raw, b"bench", b"example.com", pem, canonicalize=(b"relaxed", b"relaxed")),
            DKIMPY_REPEATS,
        )
        for raw in (small, large)
    ]
    rows.append(["dkimpy, RSA-2048", *(f"{cost:,.0f}" for cost in with_dkimpy), f"{with_dkimpy[0] / bare:.1f}"])
    return measure.table(["DKIM, CPU µs/message", "5 KB", "100 KB", "× bare signature (5 KB)"], rows)
