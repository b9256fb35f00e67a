"""DKIM keys: made once, published in the DNS, wrapped for storage."""

import base64
from dataclasses import dataclass, field
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from shared.domain.tenancy import DKIMAlgorithm

RSA_BITS = 2048
"""RFC 8301 §3.2 asks for 2048; Postal makes 1024 (app/models/domain.rb, generate_dkim_key)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key: what to wrap and store, and what to publish."""

    private: bytes = field(repr=False)
    """PKCS #8 in DER."""

    public: str
    """Base64, the ``p=`` tag: SubjectPublicKeyInfo for RSA, the bare 32 bytes for Ed25519 (RFC 8463 §4)."""


def new_key(algorithm: DKIMAlgorithm) -> KeyPair:
    """Return a fresh key from the system's randomness.  RSA takes some 100 ms of CPU: not in an event loop."""
    match algorithm:
        case DKIMAlgorithm.RSA:
            rsa = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
            private = rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            public = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case DKIMAlgorithm.ED25519:
            ed25519 = Ed25519PrivateKey.generate()
            private = ed25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            public = ed25519.public_key().public_bytes_raw()
        case _:
            assert_never(algorithm)
    return KeyPair(private, base64.b64encode(public).decode("ascii"))


def wrap_context(domain: str, selector: str) -> str:
    """Return the context under which the private half is wrapped: a key moved to another domain will not open."""
    return f"dkim:{domain}:{selector}"
