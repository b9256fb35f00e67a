"""Uploads: what any engine must do, through the target that a client would use."""

import random
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.session import get_session

from shared.adapters.aws.calls import Calls
from shared.adapters.aws.s3_uploads import S3Uploads
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.embedded.sqlite_bodies import SQLiteBodies
from shared.adapters.embedded.sqlite_uploads import SQLiteUploads
from shared.adapters.embedded.store import SQLiteStore
from shared.adapters.keyring import MasterKeyring
from shared.domain.errors import InvalidValue, NotFound
from shared.ports import Clock, Uploads, UploadTarget
from tests.aws.resources import BUCKET
from tests.contract.conftest import Cloud
from tests.fakes.clock import FakeClock

KEY = "uploads/7/19b0-abc"
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """An engine, and a client of it."""

    uploads: Uploads
    put: Callable[[UploadTarget, bytes], Awaitable[bool]]
    """Says whether what was put was taken."""

    clock: Clock
    advance: Callable[[timedelta], None] | None = None

    async def target(self, size_bytes: int, key: str = KEY) -> UploadTarget:
        """Return a target that is good for an hour."""
        return await self.uploads.make_target(key, size_bytes=size_bytes, expires_at=self.clock() + HOUR)


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    """Give a body as it comes from a network."""
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


def sqlite_place(directory: Path) -> Iterator[Place]:
    """Open the engine on a new database file; the API passes on what is put."""
    clock = FakeClock()
    store = SQLiteStore(directory / "edgepost.db", durability="normal")
    uploads = SQLiteUploads(SQLiteBodies(store, clock), MasterKeyring(bytes(32)), "https://mail.example.com/", clock)

    async def put(target: UploadTarget, content: bytes) -> bool:
        ticket = target.url.removeprefix("https://mail.example.com/api/v2/uploads/")
        try:
            await uploads.write(ticket, chunks(content))
        except (NotFound, InvalidValue):
            return False
        return True

    yield Place(uploads, put, clock, clock.advance)
    store.close()


def s3_place(cloud: Cloud) -> Iterator[Place]:
    """Open the engine on an emulated S3, which checks signatures; clients put there directly."""
    cloud.emulator.reset()
    cloud.resources.client("s3").create_bucket(Bucket=BUCKET)
    clock = cloud.emulator.now

    async def put(target: UploadTarget, content: bytes) -> bool:
        request = urllib.request.Request(target.url, content, dict(target.headers), method="PUT")  # noqa: S310  # loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: ASYNC210, S310
                return bool(answer.status == 200)
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 403:
                return False
            raise

    uploads = S3Uploads(cloud.clients, Calls(cloud.threads, Patience(), random.Random(1)), bucket=BUCKET, clock=clock)
    yield Place(uploads, put, clock)


@pytest.fixture(params=["sqlite", "aws"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Give each engine in turn."""
    yield from s3_place(request.getfixturevalue("cloud")) if request.param == "aws" else sqlite_place(tmp_path)


class TestUploads:
    @pytest.mark.parametrize("content", [b"{}", bytes(range(256)) * 20_000], ids=["small", "5 MB"])
    async def test_what_was_put_is_read(self, place: Place, content: bytes) -> None:
        """Byte for byte: a digest is made of it."""
        target = await place.target(len(content))

        assert await place.put(target, content)

        assert await place.uploads.read(KEY) == content

    @pytest.mark.parametrize("content", [b"1234", b"123456", b""])
    async def test_another_length_is_not_taken(self, place: Place, content: bytes) -> None:
        """The promise was for so many bytes; nobody may fill the storage with more."""
        target = await place.target(5)

        assert not await place.put(target, content)
        assert await place.uploads.read(KEY) is None

    async def test_what_was_never_put_is_not_there(self, place: Place) -> None:
        """A target alone is nothing."""
        await place.target(5)

        assert await place.uploads.read(KEY) is None
        await place.uploads.delete(KEY)

    async def test_keys_are_apart(self, place: Place) -> None:
        """The key holds the server: another's is another."""
        await place.put(await place.target(2), b"{}")

        assert await place.uploads.read(KEY.replace("/7/", "/8/")) is None

    async def test_put_twice_the_last_counts(self, place: Place) -> None:
        """A client whose connection broke puts again."""
        target = await place.target(2)

        assert await place.put(target, b"{}")
        assert await place.put(target, b"[]")

        assert await place.uploads.read(KEY) == b"[]"

    async def test_deleted_it_is_gone(self, place: Place) -> None:
        """Twice: nothing more."""
        await place.put(await place.target(2), b"{}")

        await place.uploads.delete(KEY)
        await place.uploads.delete(KEY)

        assert await place.uploads.read(KEY) is None

    async def test_a_target_ends(self, place: Place) -> None:
        """A URL that lies in some log must not be good for ever."""
        target = await place.target(2)
        if place.advance is None:
            # The emulator goes by the real clock here.
            assert re.search(r"X-Amz-Expires=(3600|3599)&", target.url)
            return
        place.advance(HOUR + timedelta(seconds=1))

        assert not await place.put(target, b"{}")

    async def test_an_altered_target_is_no_target(self, place: Place) -> None:
        """Whoever could alter one could put as somebody else."""
        target = await place.target(2)
        altered = UploadTarget(target.url[:-2] + ("00" if not target.url.endswith("00") else "11"), target.headers)

        assert not await place.put(altered, b"{}")
        assert await place.uploads.read(KEY) is None


class TestS3Uploads:
    def test_the_host_is_the_regions_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The global host answers with a redirect for some hours after a bucket was made, which breaks a PUT."""
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.delenv(name, raising=False)
        usual = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "eu-central-1"}
        for name, value in usual.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("shared.adapters.aws.session._session", get_session)

        url = Clients("api", 1, Patience()).s3_signing.generate_presigned_url(
            "put_object", {"Bucket": "bodies", "Key": "k"}
        )

        assert url.startswith("https://bodies.s3.eu-central-1.amazonaws.com/k?")
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
