"""Public keys from the DNS (RFC 6376 §3.6, RFC 8463), parsed by OpenSSL, bounded in what they may cost."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from shared.domain.addresses import domain_name
from shared.domain.errors import InvalidValue
from smtp_node.authentication.lookups import Lookups
from smtp_node.authentication.tags import BadTags, compact, decoded, read_tags

ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
"""RFC 8301 §3.1: rsa-sha1 must not be verified."""

MIN_BITS = 1024
"""RFC 8301 §3.2."""

MAX_BITS = 4096
MAX_EXPONENT = 2**32
MAX_RECORD = 4096


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key with what its owner allows it for."""

    key: RSAPublicKey | Ed25519PublicKey
    strict: bool
    """``t=s``: the identity must be of exactly the signing domain."""

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is of these bytes."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, data, PKCS1v15(), SHA256())
            else:
                # RFC 8463 §3: over the hash, not over the data.
                self.key.verify(signature, hashlib.sha256(data).digest())
        except (InvalidSignature, ValueError):
            return False
        return True


def find_key(selector: str, domain: str, algorithm: str, lookups: Lookups) -> PublicKey:
    """Return the key that the DNS has for a signature.

    Raises:
        BadTags: there is none, it was revoked, or it may not be used for this.
        LookupFailed: the DNS gave no answer.
    """
    try:
        name = domain_name(f"{compact(selector)}._domainkey.{compact(domain)}")
    except InvalidValue as exc:
        raise BadTags("selector or domain is no name") from exc
    # RFC 6376 §3.6.2.2: of several records any may be taken; they are a mistake of their owner.
    record = next((each for each in lookups.txt(name) if "p=" in compact(each[:MAX_RECORD])), "")
    if not record or len(record) > MAX_RECORD:
        raise BadTags("no key for this signature")
    return _parsed(record, ALGORITHMS[algorithm])


def _parsed(record: str, kind: str) -> PublicKey:
    tags = read_tags(record)
    if tags.get("v", "DKIM1") != "DKIM1" or tags.get("k", "rsa").lower() != kind:
        raise BadTags("the key is of another kind")
    if "h" in tags and "sha256" not in compact(tags["h"]).lower().split(":"):
        raise BadTags("the key is not for this hash")
    if not {"*", "email"} & set(compact(tags.get("s", "*")).lower().split(":")):
        raise BadTags("the key is not for mail")
    raw = decoded(tags.get("p", ""))
    if not raw:
        raise BadTags("the key was revoked")  # RFC 6376 §3.6.1
    return PublicKey(_loaded(raw, kind), strict="s" in compact(tags.get("t", "")).lower().split(":"))


def _loaded(raw: bytes, kind: str) -> RSAPublicKey | Ed25519PublicKey:
    try:
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(raw)
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise BadTags("the key cannot be read") from exc
    # What a key costs to use is the sender's choice, up to here.
    if not isinstance(key, RSAPublicKey) or not MIN_BITS <= key.key_size <= MAX_BITS:
        raise BadTags("the key is too short or too long")
    if key.public_numbers().e >= MAX_EXPONENT:
        raise BadTags("the key has an exponent that takes too long")
    return key
