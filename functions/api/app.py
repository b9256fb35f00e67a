"""The HTTP API as an ASGI application: Postal's v1 under ``/api/v1``, ours under ``/api/v2``."""

import logging

from fastapi import FastAPI

from functions.api.body_limit import BodyLimit
from functions.api.door import Step, endpoint, unexpected
from functions.api.large_requests import LargeRequests
from functions.api.services import Services
from functions.api.uploaded import uploadable
from functions.api.v1_messages import show_deliveries, show_message
from functions.api.v1_send import send_message, send_raw
from functions.api.v2_events import events_router
from functions.api.v2_uploads import uploads_router

METHODS = ["GET", "POST", "PUT", "PATCH"]
"""Postal takes each call by any of them (config/routes.rb)."""

OPENAPI = "/api/v2/openapi.json"
MAX_V2_BODY_BYTES = 1_000_000

V1: dict[str, Step] = {
    "/api/v1/send/message": uploadable(send_message, name="message"),
    "/api/v1/send/raw": uploadable(send_raw, name="raw"),
    "/api/v1/messages/message": show_message,
    "/api/v1/messages/deliveries": show_deliveries,
}


def build_app(services: Services, large: LargeRequests | None = None) -> FastAPI:
    """Return the application; it opens and closes nothing.

    Args:
        services: everything behind the doors.
        large: how large requests share memory; as usual if None.
    """
    # It warns of each malformed form that somebody sends; the answer says so already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # The v1 calls are Postal's and documented there; the OpenAPI document is that of the v2 API.
    # A redirect to the path without its last slash would go to the host that the request names.
    app = FastAPI(title="Edgepost", openapi_url=OPENAPI, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(Exception, unexpected)
    large = large or LargeRequests.up_to(services.max_request_bytes)
    for path, step in V1.items():
        answer = endpoint(step, services, large)
        for spelling in (path, f"{path}/"):  # Rails takes both.
            app.add_api_route(spelling, answer, methods=METHODS, include_in_schema=False, response_model=None)
    app.include_router(uploads_router(services))
    app.include_router(events_router(services))
    app.add_middleware(BodyLimit, path="/api/v2/", but="/api/v2/uploads/", max_bytes=MAX_V2_BODY_BYTES)
    return app
