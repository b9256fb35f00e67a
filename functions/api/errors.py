"""What the API says when it says no: one table from errors to Postal's answers.

Postal answers every outcome with HTTP 200 and tells it in the body; so do we,
except when nothing was decided: then 503, so that a client knows to repeat.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from shared.domain import errors
from shared.domain.submission import MAX_RECIPIENTS

ERROR = "error"
PARAMETER_ERROR = "parameter-error"
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one kind of error."""

    http_status: int
    code: str
    text: str
    """A fixed sentence for people; empty where Postal gives none."""

    detailed: bool = False
    """Whether the error's own words follow: they speak of the request only."""


TEMPORARY = Reply(503, "TemporarilyUnavailable", "The request could not be completed; repeat it in a few seconds")

REPLIES: Mapping[type[errors.MailError], Reply] = {
    errors.BadCredentials: Reply(
        200, "InvalidServerAPIKey", "The API token provided in X-Server-API-Key was not valid."
    ),
    errors.ServerSuspended: Reply(200, "ServerSuspended", ""),
    errors.SenderNotAllowed: Reply(
        200, "UnauthenticatedFromAddress", "The From address is not authorised to send mail from this server"
    ),
    errors.NoRecipients: Reply(200, "NoRecipients", "There are no recipients defined to receive this message"),
    errors.TooManyRecipients: Reply(
        200, "TooManyRecipients", f"The maximum number of recipients has been reached (maximum {MAX_RECIPIENTS})"
    ),
    errors.MessageTooLarge: Reply(200, "MessageTooLarge", "The message is larger than this installation accepts"),
    errors.MalformedMessage: Reply(200, "MalformedMessage", "The message is malformed", detailed=True),
    errors.IdempotencyKeyReused: Reply(
        200, "IdempotencyKeyReused", "The Idempotency-Key was used before for a different request"
    ),
    errors.NotFound: Reply(200, "NotFound", "There is no such thing"),
    errors.NameTaken: Reply(200, "NameTaken", "The name is in use"),
    errors.InvalidValue: Reply(200, "InvalidParameter", "A value is not valid", detailed=True),
    errors.NotPermitted: Reply(200, "AccessDenied", "The API key does not allow this"),
    errors.EnoughReported: Reply(
        200, "EnoughReported", "So much mail has come about this message that no more is kept"
    ),
    errors.WrongState: Reply(200, "WrongState", "This is not possible in the present state", detailed=True),
    errors.StorageUnavailable: TEMPORARY,
    errors.StillInProgress: Reply(
        503,
        TEMPORARY.code,
        "The first request with this Idempotency-Key has not finished yet; repeat it soon",
    ),
}


class Problem(Exception):
    """An outcome that the API itself decides, in Postal's words and shape."""

    def __init__(
        self, code: str, text: str = "", *, data: Mapping[str, object] | None = None, http_status: int = 200
    ) -> None:
        super().__init__(code)
        self.status = ERROR
        self.code = code
        self.http_status = http_status
        self.data: dict[str, object] = {}
        if text:
            self.data["message"] = text
        # Postal merges the code in last (legacy_api/base_controller.rb, render_error).
        self.data |= {**(data or {}), "code": code}


class ParameterProblem(Problem):
    """A parameter is missing, or the parameters cannot be read at all: Postal gives no code then."""

    def __init__(self, text: str, *, http_status: int = 200) -> None:
        super().__init__("parameter-error", http_status=http_status)
        self.status = PARAMETER_ERROR
        self.data = {"message": text}


def missing(name: str) -> ParameterProblem:
    """Return Postal's answer to a required parameter that is not there."""
    return ParameterProblem(f"`{name}` parameter is required but is missing")


def refusal(error: errors.MailError | Problem) -> Problem:
    """Return the answer to an error; one that is not in the table counts as temporary."""
    if isinstance(error, Problem):
        return error
    reply = REPLIES.get(type(error), TEMPORARY)
    text = f"{reply.text}: {error}" if reply.detailed else reply.text
    return Problem(reply.code, text, http_status=reply.http_status)


@contextmanager
def naming(code: str, place: str) -> Iterator[None]:
    """Turn an invalid value into an answer that names the parameter it came in."""
    try:
        yield
    except errors.InvalidValue as exc:
        raise Problem(code, f"`{place}` is not valid: {exc}") from exc
