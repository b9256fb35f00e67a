"""Bodies on AWS: a small one is an item in DynamoDB, a large one an object in S3, both compressed.

Where a body lies follows from its compressed size alone, so reading asks DynamoDB first and S3 only
if it is not there; no third record says where.  docs/decisions/0010 has the prices behind
``ITEM_BYTES``.  DynamoDB deletes expired items and S3's lifecycle expired objects some time after;
until then they count as gone here.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from shared.adapters.aws.attributes import EXPIRES, PARTITION, seconds_down, seconds_up
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import code_of
from shared.adapters.body_codec import BodyCodec, Packed
from shared.domain.errors import StorageUnavailable

ITEM_BYTES = 6 * 1024
"""Largest item; up to here DynamoDB's write, read and a month of storage cost less than S3's."""

_OVERHEAD_BYTES = 96
"""Of an item beside key and data: names, size, digest and expiry, as DynamoDB counts them."""

_OFF_LOOP_BYTES = 65_536
"""Larger bodies are compressed and expanded in a thread, so that the event loop goes on."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A body as it was found."""

    data: bytes
    size: int
    digest: bytes
    expires: int


class DynamoDBAndS3Bodies:
    """``Bodies`` in a table with key ``pk`` and in a bucket; see ``shared.ports``.

    Expiry has the resolution of a second.
    """

    def __init__(
        self, dynamodb: DynamoDB, clients: Clients, *, table: str, bucket: str, clock: Callable[[], datetime]
    ) -> None:
        """Use the table and the bucket; the clock decides what has expired."""
        dynamodb.add_table(table, sort=False)
        self._dynamodb = dynamodb
        self._clients = clients
        self._table = table
        self._bucket = bucket
        self._clock = clock
        self._codec = BodyCodec()

    async def put(self, key: str, raw: bytes, *, expires_at: datetime) -> None:
        """Store the bytes durably; a repeat replaces them by the same."""
        packed = await asyncio.to_thread(self._codec.pack, raw) if len(raw) > _OFF_LOOP_BYTES else self._codec.pack(raw)
        expires = seconds_up(expires_at)
        if len(packed.data) + len(key.encode()) + _OVERHEAD_BYTES <= ITEM_BYTES:
            item = _item(key, packed, expires)
            await self._dynamodb.call("PutItem", {"TableName": self._table, "Item": item})
        else:
            metadata = {"size": str(packed.size), "digest": packed.digest.hex(), "expires": str(expires)}
            name = _object_key(key)
            await self._dynamodb.calls.run(
                "PutObject",
                lambda: self._clients.s3.put_object(Bucket=self._bucket, Key=name, Body=packed.data, Metadata=metadata),
            )

    async def get(self, key: str) -> bytes | None:
        """Return the bytes, or None if gone or expired."""
        now = seconds_down(self._clock())
        found = await self._item(key)
        if found is None or found.expires <= now:
            found = await self._object(key)
        if found is None or found.expires <= now:
            return None
        unpack = partial(self._codec.unpack, found.data, found.size, found.digest)
        return await asyncio.to_thread(unpack) if found.size > _OFF_LOOP_BYTES else unpack()

    async def delete(self, key: str) -> None:
        """Remove the bytes, wherever they lie."""
        await self._dynamodb.call("DeleteItem", self._dynamodb.arguments(self._table, key))
        name = _object_key(key)
        await self._dynamodb.calls.run(
            "DeleteObject", lambda: self._clients.s3.delete_object(Bucket=self._bucket, Key=name)
        )

    async def _item(self, key: str) -> _Kept | None:
        request = self._dynamodb.arguments(self._table, key, consistent_read=True)
        item = (await self._dynamodb.call("GetItem", request)).get("Item")
        if item is None:
            return None
        return _Kept(item["data"]["B"], int(item["size"]["N"]), item["digest"]["B"], int(item[EXPIRES]["N"]))

    async def _object(self, key: str) -> _Kept | None:
        def read() -> _Kept | None:
            try:
                answer = self._clients.s3.get_object(Bucket=self._bucket, Key=_object_key(key))
            except ClientError as exc:
                if code_of(exc) == "NoSuchKey":
                    return None
                raise
            return _of_object(answer["Metadata"], answer["Body"].read())

        return await self._dynamodb.calls.run("GetObject", read)


def _item(key: str, packed: Packed, expires: int) -> dict[str, Any]:
    return {
        PARTITION: {"S": key},
        EXPIRES: {"N": str(expires)},
        "data": {"B": packed.data},
        "size": {"N": str(packed.size)},
        "digest": {"B": packed.digest},
    }


def _of_object(metadata: Mapping[str, str], data: bytes) -> _Kept:
    try:
        return _Kept(data, int(metadata["size"]), bytes.fromhex(metadata["digest"]), int(metadata["expires"]))
    except (KeyError, ValueError) as exc:
        raise StorageUnavailable("an object in the bucket of bodies is not one of ours") from exc


def _object_key(key: str) -> str:
    """Return the name of the object: readable, without any path in it, spread over S3's partitions."""
    spread = hashlib.sha256(key.encode()).hexdigest()[:4]
    return f"{spread}/{quote(key, safe='').replace('.', '%2E')}"
