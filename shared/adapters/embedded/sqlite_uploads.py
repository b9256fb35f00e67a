"""Uploads on SQLite: clients put them to our own API, and they are kept as bodies until they end."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import NamedTuple

from shared.domain.errors import InvalidValue, NotFound
from shared.domain.moments import from_ms, to_ms
from shared.ports import Bodies, Keyring, UploadTarget

PATH = "/api/v2/uploads/"
"""Where the API takes what is put (functions/api/v2_uploads.py)."""

MAX_TICKET = 500
"""Longer ones are not ours."""

_CONTEXT = "upload ticket"


class _Ticket(NamedTuple):
    """What the end of a target's URL says, sealed under the master key."""

    key: str
    size_bytes: int
    expires_ms: int


class SQLiteUploads:
    """``Uploads`` beside the bodies; see ``shared.ports``.

    Args:
        bodies: where the bytes go.
        keyring: seals tickets, so that a target needs no record before it is used.
        public_url: under which clients reach the API.
        clock: decides what has ended.
    """

    def __init__(self, bodies: Bodies, keyring: Keyring, public_url: str, clock: Callable[[], datetime]) -> None:
        self._bodies = bodies
        self._keyring = keyring
        self._base = public_url.rstrip("/") + PATH
        self._clock = clock

    async def make_target(self, key: str, *, size_bytes: int, expires_at: datetime) -> UploadTarget:
        """Return an address of our own API."""
        ticket = _Ticket(key, size_bytes, to_ms(expires_at))
        sealed = self._keyring.wrap(json.dumps(ticket).encode(), context=_CONTEXT)
        return UploadTarget(self._base + sealed, {"Content-Type": "application/json"})

    async def write(self, ticket: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what was put; the ticket is looked at before the first byte is read."""
        opened = self._opened(ticket)
        pieces: list[bytes] = []
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > opened.size_bytes:
                break
            pieces.append(chunk)
        if size != opened.size_bytes:
            raise InvalidValue(f"the upload was announced with {opened.size_bytes} bytes")
        await self._bodies.put(opened.key, b"".join(pieces), expires_at=from_ms(opened.expires_ms))

    async def read(self, key: str) -> bytes | None:
        """Return what was put."""
        return await self._bodies.get(key)

    async def delete(self, key: str) -> None:
        """Remove what was put."""
        await self._bodies.delete(key)

    def _opened(self, ticket: str) -> _Ticket:
        if len(ticket) > MAX_TICKET:
            raise NotFound("there is no such upload")
        try:
            opened = _Ticket(*json.loads(self._keyring.unwrap(ticket, context=_CONTEXT)))
        except InvalidValue as exc:
            raise NotFound("there is no such upload") from exc
        if from_ms(opened.expires_ms) <= self._clock():
            raise NotFound("there is no such upload any more")
        return opened
