"""The door of the v2 API: who asks, and how errors are answered there."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from fastapi import HTTPException, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from functions.api.errors import RETRY_AFTER_S, refusal
from functions.api.services import Services
from shared.domain import errors
from shared.domain.tenancy import CredentialType, Tenant
from shared.flow.authenticate import authenticate

log = logging.getLogger(__name__)

STATUSES: Mapping[type[errors.MailError], int] = {
    errors.BadCredentials: 401,
    errors.ServerSuspended: 403,
    errors.NotFound: 404,
    errors.MessageTooLarge: 413,
    errors.InvalidValue: 422,
}
"""HTTP status by error; any other is temporary."""

_KEY = APIKeyHeader(name="X-Server-API-Key", description="Key of an API credential.", auto_error=False)
_BEARER = HTTPBearer(description="The same key as a bearer token.", auto_error=False)


def server_key(
    key: Annotated[str | None, Security(_KEY)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    """Return the API key of a request: ``X-Server-API-Key``, else the bearer token; empty for none."""
    return key or (bearer.credentials if bearer else "")


async def tenant_of(key: str, services: Services) -> Tenant:
    """Return whose key it is.

    Raises:
        BadCredentials: nobody's.
    """
    tenant, _ = await authenticate(CredentialType.API, key, directory=services.directory, now=services.clock())
    return tenant


@contextmanager
def told() -> Iterator[None]:
    """Answer errors with their status and, as in v1, a code and a sentence."""
    try:
        yield
    except errors.MailError as exc:
        status = STATUSES.get(type(exc), 503)
        if status == 503:
            log.exception("api_request_postponed")
        problem = refusal(exc)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
        text = problem.data.get("message") or f"Not possible: {exc}"
        raise HTTPException(status, {"code": problem.code, "message": text}, headers) from exc
