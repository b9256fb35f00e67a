"""Signing keys ready for use: parsed once, kept in a bounded cache.

Parsing with validation of the primes takes 40 ms, without it 18 µs; the keys are
our own, made by ``shared.domain.dkim_keys`` and authenticated by the keyring, so
they were valid when they were stored.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from shared.domain.dkim_keys import wrap_context
from shared.domain.errors import InvalidValue
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain
from shared.ports import Keyring

MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the names under which its public half is published."""

    domain: str
    """A-labels (RFC 6376 §3.5, ``d=``)."""

    selector: str
    algorithm: DKIMAlgorithm
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)


def load_key(domain: str, selector: str, algorithm: DKIMAlgorithm, private: bytes) -> SigningKey:
    """Return the key parsed from PKCS #8, DER or PEM.

    Raises:
        InvalidValue: not such a key, or one of another algorithm.
    """
    load = load_pem_private_key if private.startswith(b"-----") else load_der_private_key
    try:
        key = load(private, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError) as exc:
        raise InvalidValue("this is not an unencrypted PKCS #8 private key") from exc
    match key, algorithm:
        case RSAPrivateKey(), DKIMAlgorithm.RSA:
            return SigningKey(domain, selector, algorithm, key)
        case Ed25519PrivateKey(), DKIMAlgorithm.ED25519:
            return SigningKey(domain, selector, algorithm, key)
    raise InvalidValue(f"the private key is not of the algorithm {algorithm.value}")


class SigningKeys:
    """The keys of domains, unwrapped when first needed and kept, least recently used out first.

    A replaced key has another wrapped form, so it is never confused with the old one.
    """

    def __init__(self, keyring: Keyring, *, most: int = MOST_KEYS) -> None:
        self._keyring = keyring
        self._most = most
        self._loaded: OrderedDict[tuple[str, str, str], SigningKey] = OrderedDict()

    def of(self, domain: Domain) -> Sequence[SigningKey]:
        """Return all keys of the domain, in their order.

        Raises:
            InvalidValue: a key does not open under this master key.
        """
        return [self._key(domain.name, key) for key in domain.keys]

    def _key(self, domain: str, key: DKIMKey) -> SigningKey:
        name = (domain, key.selector, key.wrapped)
        loaded = self._loaded.get(name)
        if loaded is None:
            private = self._keyring.unwrap(key.wrapped, context=wrap_context(domain, key.selector))
            loaded = self._loaded[name] = load_key(domain, key.selector, key.algorithm, private)
            if len(self._loaded) > self._most:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(name)
        return loaded
