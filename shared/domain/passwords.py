"""Passwords of people: argon2id, so that a stolen store gives none away."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
"""RFC 9106 §4, second recommended option: 64 MiB, three passes; some 50 ms of CPU."""


def hash_password(password: str) -> str:
    """Return what is stored.  Takes some 50 ms of CPU: not in an event loop."""
    return _HASHER.hash(password)


def is_password(password: str, stored: str) -> bool:
    """Whether the password is the one that was stored.  Takes some 50 ms of CPU."""
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
