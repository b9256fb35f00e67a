"""The keys of tokens on AWS: an SSM SecureString beside the master key; pixel, redirect and unsubscribe read it too."""

from shared.adapters.aws.calls import unavailable
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import SDK_ERRORS, code_of


class TokenKeyParameter:
    """The ``TokenKeyStore`` port over the parameter ``token-keys`` below a path such as ``/edgepost/production``.

    Parameter Store has no conditional overwrite: of two rotations in the same instant
    one new key may be lost, and what it signed until then leads nowhere.
    """

    def __init__(self, clients: Clients, path: str) -> None:
        self._clients = clients
        self._name = f"{path.rstrip('/')}/token-keys"

    def read(self) -> str | None:
        """Return them as text, or None if there are none yet; blocks.

        Raises:
            StorageUnavailable: the parameter cannot be read.
        """
        try:
            answer = self._clients.ssm.get_parameter(Name=self._name, WithDecryption=True)
        except SDK_ERRORS as exc:
            if code_of(exc) == "ParameterNotFound":
                return None
            raise unavailable("GetParameter", exc) from exc
        return str(answer["Parameter"]["Value"])

    def write(self, text: str, *, instead_of: str | None) -> bool:
        """Put the text in place; False if something else than ``instead_of`` was there; blocks.

        Raises:
            StorageUnavailable: it is not known to be in place.
        """
        if instead_of is not None and self.read() != instead_of:
            return False
        try:
            self._clients.ssm.put_parameter(
                Name=self._name,
                Value=text,
                Type="SecureString",
                # The standard tier's 4 KB hold 60 keys; a larger value needs the advanced one.
                Tier="Intelligent-Tiering",
                Overwrite=instead_of is not None,
                Description="Signs links, pixels and return paths. Losing it breaks every link that was sent.",
            )
        except SDK_ERRORS as exc:
            if code_of(exc) == "ParameterAlreadyExists":
                return False
            raise unavailable("PutParameter", exc) from exc
        return True
