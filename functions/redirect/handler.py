"""Answers ``GET /c/{token}`` with a redirect to the target in the token and records a click."""

from typing import Any

from functions.edge import reply
from functions.edge.door import Answer, Services, Visit, answered, visit_of
from functions.edge.hits import hit_event, subject_of, visit_data
from functions.edge.visitors import visitor_of
from functions.edge.wiring import services
from shared.tokens import CLICK

KIND = "clicked"


def handler(event: dict[str, Any], context: object) -> reply.Response:  # noqa: ARG001 - Lambda's signature
    """Answer one request of the function URL."""
    return answered(answer(event, services()), services())


def answer(event: dict[str, Any], using: Services) -> Answer:
    """Decide the answer and the event; HEAD only asks where the link leads, so it counts for nothing."""
    visit = visit_of(event, CLICK, "/c/", ("GET", "HEAD"), using)
    if not isinstance(visit, Visit):
        return visit
    request, named = visit
    if not is_safe(named.target):
        return Answer(reply.not_found())
    going = reply.redirect(named.target)
    skipped = using.cap.take(KIND, named) if request.method == "GET" else None
    if skipped is None:
        return Answer(going)
    now = using.now()
    data = visit_data(request, named, visitor_of(request.user_agent, request.headers), skipped)
    return Answer(going, hit_event(KIND, named, now, subject=subject_of(request, named, now), data=data))


def is_safe(target: str) -> bool:
    """Tell whether a Location may hold it: signed by us, and checked once more."""
    return target.lower().startswith(("http://", "https://")) and target.isascii() and target.isprintable()
