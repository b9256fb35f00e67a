"""Uploads in S3: clients put them there by presigned URLs (S3 user guide, "Uploading objects with presigned URLs").

The length and the type are part of the signature, so S3 refuses anything else.  They lie below
``uploads/`` in the bucket of bodies, whose lifecycle removes what is left there after a day.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from botocore.exceptions import ClientError

from shared.adapters.aws.calls import Calls
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import code_of
from shared.domain.errors import NotFound
from shared.ports import UploadTarget

_HEADERS = {"Content-Type": "application/json"}


class S3Uploads:
    """``Uploads`` in a bucket; see ``shared.ports``."""

    def __init__(self, clients: Clients, calls: Calls, *, bucket: str, clock: Callable[[], datetime]) -> None:
        """Use the bucket; the clock says how long a URL is good."""
        self._clients = clients
        self._calls = calls
        self._bucket = bucket
        self._clock = clock

    async def make_target(self, key: str, *, size_bytes: int, expires_at: datetime) -> UploadTarget:
        """Return a presigned URL; S3 itself is not asked, but credentials may have to be fetched."""
        parameters = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentLength": size_bytes,
            "ContentType": _HEADERS["Content-Type"],
        }
        lives_s = int((expires_at - self._clock()).total_seconds())

        def sign() -> str:
            url: str = self._clients.s3_signing.generate_presigned_url("put_object", parameters, ExpiresIn=lives_s)
            return url

        return UploadTarget(await self._calls.run("signing an address of S3", sign), _HEADERS)

    async def write(self, ticket: str, chunks: AsyncIterator[bytes]) -> None:  # noqa: ARG002  # the port's form
        """Refuse: targets are addresses of S3."""
        raise NotFound("uploads are put to S3 here")

    async def read(self, key: str) -> bytes | None:
        """Return what was put; S3 shows an object only when it is whole."""

        def get() -> bytes | None:
            try:
                answer = self._clients.s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as exc:
                if code_of(exc) == "NoSuchKey":
                    return None
                raise
            raw: bytes = answer["Body"].read()
            return raw

        return await self._calls.run("GetObject", get)

    async def delete(self, key: str) -> None:
        """Remove what was put."""
        await self._calls.run("DeleteObject", lambda: self._clients.s3.delete_object(Bucket=self._bucket, Key=key))
