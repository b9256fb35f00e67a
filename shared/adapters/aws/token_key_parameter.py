"""The keys of tokens in a SecureString parameter of AWS Systems Manager, under the installation's secrets path."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.errors import StorageUnavailable

NAME = "token-keys"


class TokenKeyParameter:
    """The ``TokenKeyStore`` port over a boto3 SSM client.

    Parameter Store has no conditional overwrite: two rotations in the same instant
    may leave one of the two new keys, which then signs; none is lost that signed.
    """

    # Any: boto3 makes its clients' classes at run time.
    def __init__(self, client: Any, secrets_path: str) -> None:  # noqa: ANN401
        self._client = client
        self._name = f"{secrets_path.rstrip('/')}/{NAME}"

    def read(self) -> str | None:
        """Return them as text, or None if there are none yet.

        Raises:
            StorageUnavailable: AWS did not answer, or refused.
        """
        try:
            found = self._client.get_parameter(Name=self._name, WithDecryption=True)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "ParameterNotFound":
                return None
            raise StorageUnavailable(f"the parameter {self._name} cannot be read") from exc
        except BotoCoreError as exc:
            raise StorageUnavailable(f"the parameter {self._name} cannot be read") from exc
        return str(found["Parameter"]["Value"])

    def write(self, text: str, *, instead_of: str | None) -> bool:
        """Put the text in place; False if something else than ``instead_of`` was there.

        Raises:
            StorageUnavailable: AWS did not answer, or refused.
        """
        if instead_of is not None and self.read() != instead_of:
            return False
        try:
            self._client.put_parameter(
                Name=self._name,
                Value=text,
                Type="SecureString",
                # 4 KB hold 70 keys, 8 KB 140; a larger value needs the advanced tier.
                Tier="Intelligent-Tiering",
                Overwrite=instead_of is not None,
            )
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "ParameterAlreadyExists":
                return False
            raise StorageUnavailable(f"the parameter {self._name} cannot be written") from exc
        except BotoCoreError as exc:
            raise StorageUnavailable(f"the parameter {self._name} cannot be written") from exc
        return True
