"""Uploads in S3: clients put them there by presigned URLs (S3 user guide, "Uploading objects with presigned URLs").

The length and the type are part of the signature, so S3 refuses anything else.  They lie below
``uploads/`` in the bucket of bodies, whose lifecycle removes what is left there after a day.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial

from shared.adapters.aws.calls import unavailable
from shared.adapters.aws.session import Clients
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS, code_of
from shared.domain.errors import NotFound
from shared.ports import UploadTarget

_HEADERS = {"Content-Type": "application/json"}
_GONE = frozenset(("NoSuchKey", "404"))


class S3Uploads:
    """``Uploads`` in a bucket; see ``shared.ports``."""

    def __init__(self, clients: Clients, threads: Threads, *, bucket: str, clock: Callable[[], datetime]) -> None:
        """Use the bucket; the clock says how long a URL is good."""
        self._clients = clients
        self._threads = threads
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

        try:
            return UploadTarget(await self._threads.run(sign), _HEADERS)
        except SDK_ERRORS as exc:
            raise unavailable("signing an address of S3", exc) from exc

    async def write(self, ticket: str, chunks: AsyncIterator[bytes]) -> None:  # noqa: ARG002  # the port's form
        """Refuse: targets are addresses of S3."""
        raise NotFound("uploads are put to S3 here")

    async def read(self, key: str) -> bytes | None:
        """Return what was put; S3 shows an object only when it is whole."""

        def get() -> bytes:
            raw: bytes = self._clients.s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return raw

        try:
            return await self._threads.run(get)
        except SDK_ERRORS as exc:
            if code_of(exc) in _GONE:
                return None
            raise unavailable("GetObject", exc) from exc

    async def delete(self, key: str) -> None:
        """Remove what was put."""
        try:
            await self._threads.run(partial(self._clients.s3.delete_object, Bucket=self._bucket, Key=key))
        except SDK_ERRORS as exc:
            raise unavailable("DeleteObject", exc) from exc
