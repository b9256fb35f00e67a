"""The master key of an installation, and the keyring that wraps secrets under it.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, good for 2**32 wraps
under one key (§8.3); the context is authenticated, so a wrapped secret cannot
be moved to another record.  A wrapped secret is ``v1.<key id>.<base64url of
nonce and ciphertext>``; the key id names the key to use when there are several.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

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


def load_master_key(settings_key: str, file: Path, *, create: bool = True) -> bytes:
    """Return the master key: the one in the settings, else the file's, else a new one in the file.

    Of several processes that start at once, one makes the file and all read it.

    Args:
        settings_key: 32 bytes in base64; empty to use the file.
        file: holds the key in base64; made readable by its owner only.
        create: whether a missing file is made.

    Raises:
        InvalidValue: the key is no base64 of 32 bytes, or the file cannot be read or made.
    """
    if settings_key:
        return _decoded(settings_key, "the master key in the settings")
    try:
        if create and not file.exists():
            _create(file)
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as exc:
        raise InvalidValue(f"the master key file {file} cannot be read or made: {exc.strerror}") from exc
    return _decoded(text.strip(), f"the master key in {file}")


def _create(file: Path) -> None:
    """Make the file with a new key unless another process does; it appears with all of its text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            opened.flush()
            # A key that is lost after it wrapped something cannot be made again.
            os.fsync(opened.fileno())
        # Unlike rename, link never replaces a key that is already there.
        os.link(draft, file)
        _sync_directory(file.parent)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _decoded(text: str, name: str) -> bytes:
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
