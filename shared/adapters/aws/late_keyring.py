"""A keyring that is opened at its first use: whoever opens no secret needs neither the key nor the libraries."""

import threading
from collections.abc import Callable

from shared.ports import Keyring


class LateKeyring:
    """``Keyring`` made by a function at the first use; that first use may block."""

    def __init__(self, open_keyring: Callable[[], Keyring]) -> None:
        self._open = open_keyring
        self._opening = threading.Lock()
        self._opened: Keyring | None = None

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return text from which only ``unwrap`` with the same context gets the secret."""
        return self._keyring().wrap(secret, context=context)

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return the secret, as ``Keyring`` says."""
        return self._keyring().unwrap(wrapped, context=context)

    def _keyring(self) -> Keyring:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened
