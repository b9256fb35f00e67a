"""Events as AWS would send them, so that a function cannot tell where it runs.

Forms: "Using Lambda with Amazon SQS", "Invoke a Lambda function on a schedule"
and "Invoking function URLs" in the AWS Lambda developer guide.
"""

import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from shared.ports import Received

REGION = "local"
ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """What of Lambda's context object our functions look at."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int = 512
    function_version: str = "$LATEST"

    @property
    def invoked_function_arn(self) -> str:
        """Name of the function, in Amazon's form."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run; here it always has its 30 s."""
        return 30_000


# Any: an event is JSON, as it comes, and so is the answer.
Handler: TypeAlias = Callable[[dict[str, Any], LambdaContext], Any]


def sqs_event(queue: str, batch: Sequence[Received], *, received_at: datetime) -> dict[str, Any]:
    """Return the event of a batch; ``messageId`` is the receipt, which is what failures are reported by."""
    return {"Records": [_sqs_record(queue, each, received_at) for each in batch]}


def _sqs_record(queue: str, message: Received, received_at: datetime) -> dict[str, Any]:
    return {
        "messageId": message.receipt,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": _milliseconds(message.sent_at),
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": _milliseconds(received_at),
        },
        "messageAttributes": {},
        # SQS's own field, and a checksum only: MD5 protects nothing here.
        "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "awsRegion": REGION,
    }


def function_url_event(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, *, source_ip: str, at: datetime
) -> dict[str, Any]:
    """Return the event of an HTTP request to a function URL (payload 2.0).

    Args:
        method: of the request.
        path: as sent, before the ``?``.
        query: as sent, after it.
        headers: names in lower case, repeated ones joined by commas.
        body: of the request.
        source_ip: of the client, after trusted proxies.
        at: when it came.
    """
    http = {
        "method": method,
        "path": path,
        "protocol": "HTTP/1.1",
        "sourceIp": source_ip,
        "userAgent": headers.get("user-agent", ""),
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {
            "accountId": ACCOUNT,
            "http": http,
            "requestId": str(uuid.uuid4()),
            "timeEpoch": int(_milliseconds(at)),
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def scheduled_event(rule: str, *, at: datetime, event_id: uuid.UUID) -> dict[str, Any]:
    """Return the event of an EventBridge schedule for this moment."""
    return {
        "version": "0",
        "id": str(event_id),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"],
        "detail": {},
    }


def failed_receipts(answer: Mapping[str, Any] | None, batch: Sequence[Received]) -> set[str]:
    """Return which messages the function did not do, as Lambda reads its answer.

    An answer without ``batchItemFailures`` is a success; one that names an
    empty or unknown message fails the whole batch ("Implementing partial batch
    responses" in the same guide).
    """
    failures = (answer or {}).get("batchItemFailures") or []
    named = {failure.get("itemIdentifier") for failure in failures}
    known = {each.receipt for each in batch}
    return known if named - known else {str(each) for each in named}


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
