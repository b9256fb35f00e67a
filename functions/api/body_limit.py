"""A bound on bodies that FastAPI reads by itself, which it does before it asks who is calling."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi import HTTPException

# Any: the ASGI specification leaves the values of these to each kind of message.
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class BodyLimit:
    """Ends requests below a path with 413 once their body has grown too large.

    Args:
        app: what is behind it.
        path: begin of the paths it is for.
        but: begin of those below it that bound their bodies themselves.
        max_bytes: most that a body may have.
    """

    def __init__(self, app: ASGIApp, *, path: str, but: str, max_bytes: int) -> None:
        self._app = app
        self._path = path
        self._but = but
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http" or not scope["path"].startswith(self._path) or scope["path"].startswith(self._but):
            await self._app(scope, receive, send)
            return
        size = 0

        async def counting() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                text = f"The request is larger than {self._max_bytes} bytes, the most that this call takes"
                raise HTTPException(413, {"code": "RequestTooLarge", "message": text})
            return message

        await self._app(scope, counting, send)
