"""Postal's signature of requests: one RSA key for the installation (lib/postal/signer.rb, lib/postal/http.rb)."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

RSA_BITS = 2048
WRAP_CONTEXT = "postal-signature"


def new_private_key() -> bytes:
    """Return a fresh key as PKCS #8 in DER.  It takes some 100 ms of CPU: not in an event loop."""
    key = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class PostalSigner:
    """Signs bodies as Postal does, and says with which key."""

    key: RSAPrivateKey

    @classmethod
    def of(cls, private: bytes) -> "PostalSigner":
        """Return the signer with a key that ``new_private_key`` made."""
        return cls(cast("RSAPrivateKey", load_der_private_key(private, None)))

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key's PKCS #1 form, in hex, as ruby-jwt names keys (JWT::JWK::KidAsKeyDigest)."""
        return hashlib.sha256(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).hexdigest()

    def headers(self, body: bytes) -> Mapping[str, str]:
        """Return the three headers that sign a body."""
        # SHA-1 is what old receivers check; both are sent, as Postal does.
        legacy = self.key.sign(body, PKCS1v15(), hashes.SHA1())  # noqa: S303
        return {
            "X-Postal-Signature-KID": self.key_id,
            "X-Postal-Signature": base64.b64encode(legacy).decode(),
            "X-Postal-Signature-256": base64.b64encode(self.key.sign(body, PKCS1v15(), hashes.SHA256())).decode(),
        }

    def key_set(self) -> Mapping[str, object]:
        """Return the public half for ``/.well-known/jwks.json`` (RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "n": _base64url(numbers.n), "e": _base64url(numbers.e), "kid": self.key_id}
        return {"keys": [key | {"use": "sig", "alg": "RS256"}]}


def _base64url(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
