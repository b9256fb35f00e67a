"""The door of the v1 API: who asks, what, and how every outcome is answered."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from fastapi import Request, Response

from functions.api.client_address import client_address
from functions.api.envelope import envelope
from functions.api.errors import REPLIES, TEMPORARY, Problem, refusal
from functions.api.large_requests import Holding, LargeRequests, NoRoom
from functions.api.services import Services
from functions.api.transport import Parameters, read_parameters
from shared.domain.errors import BadCredentials, MailError, ServerSuspended, StillInProgress
from shared.domain.tenancy import Credential, CredentialType, Tenant
from shared.flow.authenticate import authenticate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    services: Services
    tenant: Tenant
    credential: Credential
    parameters: Parameters
    holding: Holding
    """Room for a large request; given back with the answer."""

    idempotency_key: str
    """The Idempotency-Key header as sent; empty if there is none."""

    client_address: str
    upload: str = ""
    """Which upload the parameters came from, and what it was used for; empty if from none."""


Step = Callable[[Call], Awaitable[object]]
"""Does what an endpoint is for and returns the data of the answer."""


def endpoint(step: Step, services: Services, large: LargeRequests) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that lets authenticated requests into ``step`` and answers in Postal's envelope.

    Args:
        step: what the endpoint is for.
        services: everything behind the doors.
        large: what large requests share, over all endpoints.
    """

    async def answer(request: Request) -> Response:
        started = request.state.started = perf_counter()
        holding = Holding(large)
        try:
            call = await _let_in(request, services, holding)
            return await envelope(await step(call), started=started)
        except (MailError, Problem) as exc:
            refused = refusal(exc)
            if refused.http_status == TEMPORARY.http_status and not isinstance(exc, (StillInProgress, NoRoom)):
                log.exception("api_request_postponed", extra={"path": request.url.path})
            else:
                log.info("api_request_refused", extra={"code": refused.code, "path": request.url.path})
            return await _told(refused, started)
        finally:
            holding.release()

    return answer


async def _told(problem: Problem, started: float) -> Response:
    return await envelope(problem.data, started=started, status=problem.status, http_status=problem.http_status)


async def unexpected(request: Request, _: Exception) -> Response:
    """Answer a fault of ours: not knowing is temporary, it must never look like a refusal.

    The framework raises the error again after this answer, so that the server logs
    its traceback.
    """
    log.error("api_request_failed", extra={"path": request.url.path})
    started = getattr(request.state, "started", perf_counter())
    problem = Problem(TEMPORARY.code, TEMPORARY.text, http_status=TEMPORARY.http_status)
    return await _told(problem, started)


async def _let_in(request: Request, services: Services, holding: Holding) -> Call:
    """Authenticate before a byte of the body is read (legacy_api/base_controller.rb, authenticate_as_server)."""
    key = request.headers.get("x-server-api-key", "")
    if not key.strip():
        raise Problem("AccessDenied", "Must be authenticated as a server.")
    try:
        tenant, credential = await authenticate(
            CredentialType.API, key, directory=services.directory, now=services.clock()
        )
    except BadCredentials as exc:
        reply = REPLIES[BadCredentials]
        # Postal says the key back to whoever sent it; it is not logged.
        raise Problem(reply.code, reply.text, data={"token": key}) from exc
    if tenant.suspended:
        raise ServerSuspended("the server has been suspended")
    holding.owner = str(tenant.server.id)
    return Call(
        services=services,
        tenant=tenant,
        credential=credential,
        parameters=await read_parameters(request, max_bytes=services.max_request_bytes, holding=holding),
        holding=holding,
        idempotency_key=request.headers.get("idempotency-key", ""),
        client_address=client_address(
            request.client.host if request.client else "",
            request.headers.getlist("x-forwarded-for"),
            services.settings.trusted_proxies,
        ),
    )
