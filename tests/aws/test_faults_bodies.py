"""Bodies when DynamoDB or S3 throttle, break, hang, cut off, or do the work and cannot say so."""

import random
from datetime import timedelta

import pytest

from shared.adapters.aws.verdicts import SDK_ERRORS
from shared.domain.errors import StorageUnavailable
from tests.aws.conftest import Cloud
from tests.aws.proxy import FOR_EVER, Fault, Kind
from tests.aws.resources import BODIES, BUCKET

DAY = timedelta(days=1)
SMALL = b"Subject: hello\r\n\r\nHello\r\n"
LARGE = random.Random(5).randbytes(50_000)  # incompressible, so it is an object in S3
SIZES = pytest.mark.parametrize("raw", [SMALL, LARGE], ids=["item", "object"])
KINDS = pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.PARTIAL], ids=lambda kind: kind.name)


class TestPut:
    @SIZES
    @KINDS
    async def test_one_fault_changes_nothing(self, cloud: Cloud, raw: bytes, kind: Kind) -> None:
        """The same bytes under the same key may be put again."""
        cloud.between.disturb(Fault(kind))

        await cloud.bodies.put("1/2", raw, expires_at=cloud.clock() + DAY)

        cloud.between.forget()
        assert await cloud.bodies.get("1/2") == raw

    @SIZES
    async def test_a_lasting_fault_is_told_once(self, cloud: Cloud, raw: bytes) -> None:
        """Nothing is acknowledged before its body is stored."""
        cloud.between.disturb(Fault(Kind.UNAVAILABLE, times=FOR_EVER))

        with pytest.raises(StorageUnavailable) as caught:
            await cloud.bodies.put("1/2", raw, expires_at=cloud.clock() + DAY)

        assert isinstance(caught.value.__cause__, SDK_ERRORS)


class TestGet:
    @SIZES
    @KINDS
    async def test_one_fault_gives_no_other_bytes(self, cloud: Cloud, raw: bytes, kind: Kind) -> None:
        """All of them or an error: half a message must never be sent, and a body that is there is not missing."""
        await cloud.bodies.put("1/2", raw, expires_at=cloud.clock() + DAY)
        cloud.between.disturb(Fault(kind, service="s3" if raw is LARGE else "dynamodb"))

        assert await cloud.bodies.get("1/2") == raw

    @SIZES
    @pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.UNAVAILABLE, Kind.TRUNCATE], ids=lambda kind: kind.name)
    async def test_a_lasting_fault_is_told_once(self, cloud: Cloud, raw: bytes, kind: Kind) -> None:
        """A body that cannot be read is not gone: that would end a message that is still to be sent."""
        await cloud.bodies.put("1/2", raw, expires_at=cloud.clock() + DAY)
        cloud.between.disturb(Fault(kind, times=FOR_EVER))

        with pytest.raises(StorageUnavailable) as caught:
            await cloud.bodies.get("1/2")

        assert isinstance(caught.value.__cause__, SDK_ERRORS)

    async def test_altered_bytes_are_told(self, cloud: Cloud) -> None:
        """The digest is that of the original."""
        await cloud.bodies.put("1/2", SMALL, expires_at=cloud.clock() + DAY)
        await cloud.bodies.put("1/3", SMALL + b"!", expires_at=cloud.clock() + DAY)
        dynamodb = cloud.direct.client("dynamodb")
        other = dynamodb.get_item(TableName=BODIES, Key={"pk": {"S": "1/3"}})["Item"]["data"]
        dynamodb.update_item(
            TableName=BODIES,
            Key={"pk": {"S": "1/2"}},
            UpdateExpression="SET #d = :d",
            ExpressionAttributeNames={"#d": "data"},
            ExpressionAttributeValues={":d": other},
        )

        with pytest.raises(StorageUnavailable, match="bytes have changed"):
            await cloud.bodies.get("1/2")

    async def test_a_foreign_object_is_told(self, cloud: Cloud) -> None:
        """What somebody else put into the bucket is no body, and no reason to crash."""
        await cloud.bodies.put("1/2", LARGE, expires_at=cloud.clock() + DAY)
        s3 = cloud.direct.client("s3")
        name = s3.list_objects_v2(Bucket=BUCKET)["Contents"][0]["Key"]
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"something else")

        with pytest.raises(StorageUnavailable, match="not one of ours"):
            await cloud.bodies.get("1/2")


class TestDelete:
    @SIZES
    @pytest.mark.parametrize("service", ["dynamodb", "s3"])
    @KINDS
    async def test_one_fault_changes_nothing(self, cloud: Cloud, raw: bytes, service: str, kind: Kind) -> None:
        """What a customer deleted is gone."""
        await cloud.bodies.put("1/2", raw, expires_at=cloud.clock() + DAY)
        cloud.between.disturb(Fault(kind, service=service))

        await cloud.bodies.delete("1/2")

        cloud.between.forget()
        assert await cloud.bodies.get("1/2") is None
