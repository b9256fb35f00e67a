"""The API on AWS Lambda: API Gateway and function URL events through Mangum."""

from functools import cache
from typing import Any

from mangum import Mangum

from functions.api.app import build_app
from functions.api.lambda_limit import bounded
from functions.api.wiring import services


@cache
def _gateway() -> Mangum:
    """Return the adapter; made at the first event, so that importing this module opens nothing."""
    return Mangum(build_app(services()), lifespan="off")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  # both are AWS's own shapes
    """Answer one HTTP request."""
    return bounded(_gateway()(event, context))
