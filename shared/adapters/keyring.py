"""The keyring that wraps secrets under an installation's master key, wherever that key is kept.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, good for 2**32 wraps
under one key (§8.3); the context is authenticated, so a wrapped secret cannot
be moved to another record.  A wrapped secret is ``v1.<key id>.<base64url of
nonce and ciphertext>``; the key id names the key to use when there are several.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.domain.errors import InvalidValue

KEY_BYTES = 32

_NONCE_BYTES = 12
_VERSION = "v1"


class MasterKeyring:
    """``Keyring`` under a master key in memory; older keys still unwrap."""

    def __init__(
        self, key: bytes, *, older: Sequence[bytes] = (), random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Wrap with ``key``, unwrap with any of the keys.

        Raises:
            InvalidValue: a key has not ``KEY_BYTES`` bytes.
        """
        for each in (key, *older):
            _check_length(each, "the master key")
        self._key_id = _key_id(key)
        self._ciphers = {_key_id(each): AESGCM(each) for each in (*older, key)}
        self._random_bytes = random_bytes

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return text from which only ``unwrap`` with the same context gets the secret."""
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._key_id].encrypt(nonce, secret, context.encode())
        return f"{_VERSION}.{self._key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return the secret.

        Raises:
            InvalidValue: another master key or context wrapped it, or it was altered.
        """
        version, _, rest = wrapped.partition(".")
        key_id, _, text = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise InvalidValue("a stored secret was wrapped by another master key")
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).decode() != text:
                raise InvalidValue("a stored secret does not open: its text was altered")
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as exc:
            # binascii.Error is a ValueError, and so is what a nonce of a wrong length raises.
            raise InvalidValue("a stored secret does not open: it was altered or moved") from exc


def decoded_master_key(text: str, name: str) -> bytes:
    """Return the key from its base64, in either alphabet of RFC 4648.

    Args:
        text: the key as it is kept.
        name: where it came from, for the error.

    Raises:
        InvalidValue: it is no base64 of ``KEY_BYTES`` bytes; never repeats the text.
    """
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidValue(f"{name} is not base64") from exc
    _check_length(key, name)
    return key


def _check_length(key: bytes, name: str) -> None:
    if len(key) != KEY_BYTES:
        raise InvalidValue(f"{name} has {len(key)} bytes instead of {KEY_BYTES}")


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"edgepost master key id\0" + key).hexdigest()[:8]
