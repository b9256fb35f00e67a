"""Answers ``GET /o/{token}`` with a pixel and records an open."""

from typing import Any

from functions.edge import reply
from functions.edge.door import Answer, Services, Visit, answered, visit_of
from functions.edge.hits import hit_event, subject_of, visit_data
from functions.edge.visitors import visitor_of
from functions.edge.wiring import services
from shared.tokens import OPEN

KIND = "opened"


def handler(event: dict[str, Any], context: object) -> reply.Response:  # noqa: ARG001 - Lambda's signature
    """Answer one request of the function URL."""
    return answered(answer(event, services()), services())


def answer(event: dict[str, Any], using: Services) -> Answer:
    """Decide the answer and the event; HEAD shows nothing to anybody, so it counts for nothing."""
    visit = visit_of(event, OPEN, "/o/", ("GET", "HEAD"), using)
    if not isinstance(visit, Visit):
        return visit
    request, named = visit
    skipped = using.cap.take(KIND, named) if request.method == "GET" else None
    if skipped is None:
        return Answer(reply.pixel())
    now = using.now()
    data = visit_data(request, named, visitor_of(request.user_agent, request.headers), skipped)
    return Answer(reply.pixel(), hit_event(KIND, named, now, subject=subject_of(request, named, now), data=data))
