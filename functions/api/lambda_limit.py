"""Answers too large for Lambda, which would show them to the client as an internal error."""

import json
from typing import Any, TypeAlias

MAX_ANSWER_BYTES = 6 * 1024 * 1024 - 64 * 1024
"""A little below what Lambda returns (AWS Lambda quotas, "Invocation payload": 6 MB each way)."""

# Any: what Mangum makes is AWS's own shape.
Answer: TypeAlias = dict[str, Any]

TEXT = (
    "The answer is larger than AWS Lambda can return (6 MB). Ask for less of the message at once;"
    " raw_message and attachments hold its whole size in base64."
)


def bounded(answer: Answer) -> Answer:
    """Return the answer, or a clear error in its place if Lambda could not return it.

    The error has the form of the v1 API, whose answers alone can be so large.
    """
    # As JSON a character takes at most six bytes (``\\u00e9``), so most answers need no measuring.
    if len(answer.get("body") or "") * 6 <= MAX_ANSWER_BYTES or len(json.dumps(answer)) <= MAX_ANSWER_BYTES:
        return answer
    data = {"message": TEXT, "code": "AnswerTooLarge"}
    body = json.dumps({"status": "error", "time": 0.0, "flags": {}, "data": data})
    given = answer.get("headers") or {}
    headers = {name: value for name, value in given.items() if name.lower() != "content-length"}
    return answer | {"body": body, "headers": headers, "isBase64Encoded": False}
