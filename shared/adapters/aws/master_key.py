"""The master key on AWS: an SSM SecureString, which KMS encrypts.

``edgepost initialize`` makes it when there is none and nobody ever overwrites it: what it wrapped could
not be opened any more.  It is read when something is first wrapped or unwrapped, so a function
that does neither needs no permission to read it.
"""

import base64
from collections.abc import Callable

from shared.adapters.aws.calls import unavailable
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import SDK_ERRORS, code_of
from shared.adapters.keyring import KEY_BYTES, decoded_master_key
from shared.domain.errors import StorageUnavailable


class SSMMasterKey:
    """The parameter ``master-key`` below a path such as ``/edgepost/production``."""

    def __init__(self, clients: Clients, path: str) -> None:
        self._clients = clients
        self._name = f"{path.rstrip('/')}/master-key"

    def read(self) -> bytes:
        """Return the key; blocks.

        Raises:
            StorageUnavailable: it cannot be read, or nobody made it yet.
            InvalidValue: it is no key.
        """
        try:
            answer = self._clients.ssm.get_parameter(Name=self._name, WithDecryption=True)
        except SDK_ERRORS as exc:
            if code_of(exc) == "ParameterNotFound":
                raise StorageUnavailable(
                    f"there is no master key {self._name}: run `edgepost initialize` for this stack first"
                ) from exc
            raise unavailable("GetParameter", exc) from exc
        return decoded_master_key(answer["Parameter"]["Value"], f"the master key {self._name}")

    def make(self, random_bytes: Callable[[int], bytes]) -> None:
        """Make the key unless there is one; blocks.  Twice, or by two at once: the first one stays.

        Raises:
            StorageUnavailable: it is not known to be there.
        """
        try:
            self._clients.ssm.put_parameter(
                Name=self._name,
                Value=base64.b64encode(random_bytes(KEY_BYTES)).decode(),
                Type="SecureString",
                Overwrite=False,
                Description="Wraps every secret that Edgepost stores. Losing it loses all DKIM keys.",
            )
        except SDK_ERRORS as exc:
            if code_of(exc) != "ParameterAlreadyExists":
                raise unavailable("PutParameter", exc) from exc
