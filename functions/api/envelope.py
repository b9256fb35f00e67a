"""Postal's envelope: ``{"status", "time", "flags", "data"}``, in this order."""

import asyncio
import json
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import ParamSpec, TypeVar

from fastapi import Response

from functions.api.errors import RETRY_AFTER_S

P = ParamSpec("P")
T = TypeVar("T")

OFF_LOOP_BYTES = 256 * 1024
"""Work on more than this goes to a thread, so that other requests are not held up."""


async def off_loop(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``work(...)``, done in a thread when its input is large."""
    if size_bytes <= OFF_LOOP_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def envelope(data: object, *, started: float, status: str = "success", http_status: int = 200) -> Response:
    """Return the answer of the API.

    Args:
        data: what JSON can carry.
        started: ``perf_counter`` when the request came in.
        status: Postal's word for the outcome.
        http_status: 200 for every outcome, 400 for unreadable requests, 503 for "not now".
    """
    answer = {"status": status, "time": round(perf_counter() - started, 3), "flags": {}, "data": data}
    body = await off_loop(_weight(data), _rendered, answer)
    headers = {"cache-control": "no-store"}
    if http_status == 503:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return Response(body, http_status, headers, media_type="application/json")


def _rendered(answer: Mapping[str, object]) -> bytes:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _weight(data: object) -> int:
    """Return about how many characters the long texts in an answer have."""
    if isinstance(data, str):
        return len(data)
    if isinstance(data, dict):
        return sum(_weight(value) for value in data.values())
    return sum(_weight(value) for value in data) if isinstance(data, list) else 0
