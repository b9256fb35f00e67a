"""Answers ``/u/{token}``: a page for people, and the one-click unsubscription of RFC 8058.

GET never unsubscribes: scanners and previews follow every link.  POST does, if its
form says so; the page's own button sends the same form.
"""

import re
from typing import Any

from functions.edge import reply
from functions.edge.door import Answer, Services, Visit, answered, visit_of
from functions.edge.hits import hit_event
from functions.edge.wiring import services
from functions.unsubscribe.page import ASK, DONE, POLICY
from shared.tokens import UNSUBSCRIBE

KIND = "unsubscribed"

_ONE_CLICK = re.compile(
    # RFC 8058 §3.1-3.2: application/x-www-form-urlencoded or multipart/form-data.
    rb"(?:\A|&)List-Unsubscribe=One-Click(?:&|\s*\Z)"
    rb"|name=\"?List-Unsubscribe\"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\nOne-Click\s*\r\n",
    re.IGNORECASE,
)


def handler(event: dict[str, Any], context: object) -> reply.Response:  # noqa: ARG001 - Lambda's signature
    """Answer one request of the function URL."""
    return answered(answer(event, services()), services())


def answer(event: dict[str, Any], using: Services) -> Answer:
    """Decide the answer and the event: one for each message, however often it is asked for."""
    visit = visit_of(event, UNSUBSCRIBE, "/u/", ("GET", "HEAD", "POST"), using)
    if not isinstance(visit, Visit):
        return visit
    request, named = visit
    if request.method != "POST":
        return Answer(_page(200, ASK))
    if _ONE_CLICK.search(request.body) is None:
        return Answer(_page(400, ASK))
    if using.cap.take(KIND, named) is None:
        # Many repetitions within minutes; whether the first was recorded is not known here.
        return Answer(reply.unavailable())
    data = {"ip": request.ip, "user_agent": request.user_agent, "page": b"page=1" in request.body}
    told = {name: value for name, value in data.items() if value}
    return Answer(_page(200, DONE), hit_event(KIND, named, using.now(), subject="", data=told), record_first=True)


def _page(status: int, html: str) -> reply.Response:
    return reply.response(
        status,
        html,
        content_type="text/html; charset=utf-8",
        content_security_policy=POLICY,
        referrer_policy="no-referrer",
    )
