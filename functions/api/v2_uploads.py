"""``/api/v2/uploads``: large requests, brought by themselves before the v1 call that means them.

Lambda takes 6 MB in one request (AWS Lambda quotas, "Invocation payload"); a
message of 25 MB is 35 MB of JSON.  The client asks here for a place, puts its
JSON there, and posts ``{"upload": "<id>"}`` to the v1 call (``functions.api.uploaded``).
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from functions.api.schemas.uploads import NewUpload, UploadPlace
from functions.api.services import Services
from functions.api.v2_door import server_key, tenant_of, told
from shared.domain import errors
from shared.domain.tenancy import Server
from shared.domain.upload import new_upload


def uploads_router(services: Services) -> APIRouter:
    """Return the routes; they keep nothing between requests."""
    router = APIRouter(prefix="/api/v2/uploads", tags=["Sending"])

    @router.post("", status_code=201, summary="Ask for a place to put a large request")
    async def make_place(wanted: NewUpload, key: Annotated[str, Depends(server_key)]) -> UploadPlace:
        """Return where to PUT the JSON of a v1 call that is too large to be posted (about 4 MB and more)."""
        with told():
            server = await _server(key, services)
            most = services.max_request_bytes
            if wanted.size_bytes > most:
                raise errors.MessageTooLarge(f"an upload may have at most {most} bytes")
            upload = new_upload(server.id, now=services.clock(), rng=services.using.rng)
            target = await services.stores.uploads.make_target(
                upload.key, size_bytes=wanted.size_bytes, expires_at=upload.expires_at
            )
        return UploadPlace(
            id=upload.id, url=target.url, headers=target.headers, expires_at=upload.expires_at, max_bytes=most
        )

    @router.put("/{ticket}", summary="Put a large request where `url` said")
    async def put(ticket: str, request: Request) -> Response:
        """Take the bytes, exactly as many as were announced; on AWS they go to S3 instead."""
        with told():
            await services.stores.uploads.write(ticket, _chunks(request))
        return Response(status_code=200)

    return router


async def _server(key: str, services: Services) -> Server:
    tenant = await tenant_of(key, services)
    if tenant.suspended:
        raise errors.ServerSuspended("the server has been suspended")
    return tenant.server


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise errors.InvalidValue("the request ended before its body was complete")
        yield message.get("body", b"")
        more = message.get("more_body", False)
