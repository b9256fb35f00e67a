"""The master key on AWS: an SSM SecureString, which KMS encrypts.

``edgepost initialize`` makes it when there is none and nobody ever overwrites it: what it wrapped could
not be opened any more.  It is read when something is first wrapped or unwrapped, so a function
that does neither needs no permission to read it, and does not load the cryptography library.
"""

import base64
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.adapters.aws.calls import unavailable
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import SDK_ERRORS, code_of
from shared.domain.errors import StorageUnavailable

if TYPE_CHECKING:
    from shared.adapters.keyring import MasterKeyring


class SSMMasterKey:
    """The parameter ``master-key`` below a path such as ``/edgepost/production``."""

    def __init__(self, clients: Clients, path: str) -> None:
        self._clients = clients
        self.name = f"{path.rstrip('/')}/master-key"

    def read(self) -> str:
        """Return the key in base64; blocks.

        Raises:
            StorageUnavailable: it cannot be read, or nobody made it yet.
        """
        try:
            answer = self._clients.ssm.get_parameter(Name=self.name, WithDecryption=True)
        except SDK_ERRORS as exc:
            if code_of(exc) == "ParameterNotFound":
                raise StorageUnavailable(
                    f"there is no master key {self.name}: run `edgepost initialize` for this stack first"
                ) from exc
            raise unavailable("GetParameter", exc) from exc
        text: str = answer["Parameter"]["Value"]
        return text

    def make(self, key: bytes) -> None:
        """Make the key unless there is one; blocks.  Twice, or by two at once: the first one stays.

        Raises:
            StorageUnavailable: it is not known to be there.
        """
        try:
            self._clients.ssm.put_parameter(
                Name=self.name,
                Value=base64.b64encode(key).decode(),
                Type="SecureString",
                Overwrite=False,
                Description="Wraps every secret that Edgepost stores. Losing it loses all DKIM keys.",
            )
        except SDK_ERRORS as exc:
            if code_of(exc) != "ParameterAlreadyExists":
                raise unavailable("PutParameter", exc) from exc


class LateKeyring:
    """``Keyring`` whose master key is read at the first use; that first use blocks.

    Args:
        read: returns the key in base64.
        name: of the key, for errors.
    """

    def __init__(self, read: Callable[[], str], name: str) -> None:
        self._read = read
        self._name = name
        self._reading = threading.Lock()
        self._opened: MasterKeyring | None = None

    def wrap(self, secret: bytes, *, context: str) -> str:
        """Return text from which only ``unwrap`` with the same context gets the secret."""
        return self._keyring().wrap(secret, context=context)

    def unwrap(self, wrapped: str, *, context: str) -> bytes:
        """Return the secret, as ``MasterKeyring`` does."""
        return self._keyring().unwrap(wrapped, context=context)

    def _keyring(self) -> "MasterKeyring":
        with self._reading:
            if self._opened is None:
                from shared.adapters.keyring import MasterKeyring, decoded_master_key

                self._opened = MasterKeyring(decoded_master_key(self._read(), self._name))
            return self._opened
