"""What the three functions have in common: believe a token, answer, and have the hit recorded.

The answer is decided before anything is written.  For a pixel or a link it stands
whatever becomes of the record; an unsubscription is promised only once it is kept.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from functions.edge import reply
from functions.edge.hits import Cap, Hit
from functions.edge.request import Request, read_request
from shared.tokens import Named, Tokens, key_id_of

PREFIX_LENGTH = 3
"""Of ``/o/``, ``/c/`` and ``/u/``."""


class NotRecorded(Exception):
    """The events queue did not take a hit."""


class Services(NamedTuple):
    """What the functions need of the world outside."""

    tokens: Callable[[str], Tokens | None]
    """Returns the tokens; the argument is the id of the key that is wanted, so that a new one is looked for.

    None: the keys cannot be read for now.
    """

    suspended: Callable[[], frozenset[int]]
    """Returns the servers whose links answer 410, as they were at most a minute ago."""

    record: Callable[[Hit], None]
    """Puts a hit on the events queue; raises ``NotRecorded``."""

    cap: Cap
    now: Callable[[], float] = time.time
    """Seconds since 1970."""

    proxy: str = ""


class Answer(NamedTuple):
    """What to answer, and what to record."""

    response: reply.Response
    hit: Hit | None = None
    record_first: bool = False
    """The answer is true only once the hit is recorded."""


class Visit(NamedTuple):
    """A request with a token that we made."""

    request: Request
    named: Named


def visit_of(event: dict[str, Any], kind: str, prefix: str, allow: tuple[str, ...], using: Services) -> Visit | Answer:
    """Return the visit, or the answer for what is none: nothing is stored, or read from a store, before that."""
    request = read_request(event, proxy=using.proxy)
    token = request.path[PREFIX_LENGTH:]
    key_id = key_id_of(token)
    if not request.path.startswith(prefix) or not request.host or not key_id:
        return Answer(reply.not_found())
    if request.method not in allow:
        return Answer(reply.not_allowed(", ".join(allow)))
    tokens = using.tokens(key_id)
    if tokens is None:
        return Answer(reply.unavailable())
    named = tokens.read(kind, request.host, token)
    if named is None:
        return Answer(reply.not_found())
    return Answer(reply.gone()) if named.server_id in using.suspended() else Visit(request, named)


def answered(answer: Answer, using: Services) -> reply.Response:
    """Record the hit and return the answer; a hit that cannot be recorded keeps nobody from going on."""
    if answer.hit is not None:
        try:
            using.record(answer.hit)
        except NotRecorded as exc:
            note("hit_not_recorded", server_id=answer.hit.server_id, cause=str(exc))
            if answer.record_first:
                return reply.unavailable()
    return answer.response


def note(event: str, **fields: Any) -> None:  # noqa: ANN401  # fields of a log line are of any kind
    """Write one JSON line to the log; logging is a module that these functions do not import."""
    sys.stderr.write(json.dumps({"level": "WARNING", "event": event, **fields}) + "\n")
