"""The keys of tokens: made once, rotated, and read again so that a rotation is seen everywhere."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.ports import Clock, TokenKeyStore
from shared.tokens import TokenKeys, Tokens, read_keys, rotated

READ_AGAIN = timedelta(minutes=2)
"""Signers look for a new key this often: later than readers do (functions/edge), who must know it first."""

READ_AT_ONCE = timedelta(seconds=10)
"""How soon after a reading an unknown key id may cause another: a forger names one in every request."""

MAX_TRIES = 5


def known_keys(store: TokenKeyStore) -> TokenKeys | None:
    """Return the keys, or None if none were made yet.

    Raises:
        InvalidValue: what lies there are no keys; they are never replaced by themselves.
        StorageUnavailable: the store did not answer.
    """
    text = store.read()
    return None if text is None else _read(text)


def ensure_keys(store: TokenKeyStore, random_bytes: Callable[[int], bytes]) -> TokenKeys:
    """Return the keys; the first is made if there is none.  Twice: the same keys.

    Raises:
        InvalidValue: what lies there are no keys.
        StorageUnavailable: the store did not answer.
    """
    for _ in range(MAX_TRIES):
        keys = known_keys(store)
        if keys is not None:
            return keys
        keys = rotated(None, random_bytes)
        if store.write(keys.to_json(), instead_of=None):
            return keys
    raise StorageUnavailable("the token keys could not be made: others were writing them")


def rotate_keys(store: TokenKeyStore, random_bytes: Callable[[int], bytes]) -> TokenKeys:
    """Add a key that signs from now on; old ones stay, because links work for ever.  Twice: two new keys.

    Raises:
        InvalidValue: what lies there are no keys, or too many.
        StorageUnavailable: the store did not answer.
    """
    for _ in range(MAX_TRIES):
        text = store.read()
        try:
            keys = rotated(None if text is None else _read(text), random_bytes)
        except ValueError as exc:
            raise InvalidValue(str(exc)) from exc
        if store.write(keys.to_json(), instead_of=text):
            return keys
    raise StorageUnavailable("the token keys could not be rotated: others were writing them")


class TokenSource:
    """The tokens of a process that lives long: keys are made when first needed, and read again now and then."""

    def __init__(self, store: TokenKeyStore, *, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._kept: _Kept | None = None

    async def tokens(self, key_id: str = "") -> Tokens:
        """Return the tokens under the keys as they were at most ``READ_AGAIN`` ago.

        Args:
            key_id: of a token that is to be read; if that key is unknown, the keys are read again sooner.

        Raises:
            InvalidValue: what lies there are no keys.
            StorageUnavailable: the store did not answer, and no keys were read before.
        """
        now, kept = self._clock(), self._kept
        known = kept is not None and (not key_id or kept.tokens.knows(key_id))
        if kept is not None and timedelta(0) <= now - kept.read_at < (READ_AGAIN if known else READ_AT_ONCE):
            return kept.tokens
        try:
            keys = await asyncio.to_thread(ensure_keys, self._store, self._random_bytes)
        except StorageUnavailable:
            if kept is None:
                raise
            return kept.tokens
        tokens = kept.tokens if kept is not None and kept.keys == keys else Tokens(keys)
        self._kept = _Kept(keys, tokens, now)
        return tokens


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: TokenKeys
    tokens: Tokens
    read_at: datetime


def _read(text: str) -> TokenKeys:
    try:
        return read_keys(text)
    except ValueError as exc:
        raise InvalidValue(f"{exc}: restore them from a backup, or links that were sent lead nowhere") from exc
