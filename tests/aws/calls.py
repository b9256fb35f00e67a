"""Requests to AWS as a proxy sees them: who calls what on which thing.

The wire forms are those of the service models: DynamoDB, SQS and SSM name the operation in
X-Amz-Target, CloudFormation in the form's Action, S3 by method and path (path style, as with
any custom endpoint).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_OBJECT = {"GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "HEAD": "HeadObject"}
_BUCKET = {"GET": "ListObjectsV2", "PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}


@dataclass(frozen=True)
class Call:
    """One request, and what became of it."""

    app: str
    """The caller's name: ``deliver`` of ``edgepost-deliver`` in the User-Agent; "" if it gives none."""

    access_key: str
    service: str
    """As IAM and the credential's scope call it: ``dynamodb``, ``sqs``, ``s3``, ``ssm``, ``cloudformation``."""

    operation: str
    resources: tuple[str, ...]
    """Names of tables, queues (last part of the URL), ``bucket/key``, parameters, stacks; in no order."""

    request: bytes
    status: int = 0
    """Of the answer; 0 if the caller got none."""

    answer: bytes = b""
    """What the service answered, whether the caller got it or not."""

    fault: str = ""
    """What the proxy did to it; "" for nothing."""

    @property
    def json(self) -> Any:
        """The request of a service that speaks JSON."""
        return json.loads(self.request or b"{}")

    @property
    def answer_json(self) -> Any:
        """The answer of such a service."""
        return json.loads(self.answer or b"{}")


def call_of(method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Return the request as a call that has no answer yet."""
    query = parse_qs(urlsplit(raw_path).query)
    signed = headers.get("Authorization", "") or " ".join(
        f"Credential={each}" for each in query.get("X-Amz-Credential", ())
    )
    access_key, service = _credential(signed)
    found = re.search(r"\bapp/edgepost-(\S+)", headers.get("User-Agent", ""))
    operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
    if not operation and service == "s3":
        operation = (_OBJECT if urlsplit(raw_path).path.strip("/").count("/") else _BUCKET).get(method, method)
    elif not operation:
        operation = parse_qs(body.decode(errors="replace")).get("Action", [f"{method} {urlsplit(raw_path).path}"])[0]
    call = Call(found[1] if found else "", access_key, service, operation, (), body)
    return Call(call.app, access_key, service, operation, tuple(_resources(call, raw_path)), body)


def _credential(authorization: str) -> tuple[str, str]:
    found = re.search(r"Credential=([^/]+)/[0-9]+/[^/]+/([^/]+)/aws4_request", unquote(authorization))
    return (found[1], found[2]) if found else ("", "")


def _resources(call: Call, raw_path: str) -> Iterator[str]:
    if call.service == "s3":
        yield unquote(urlsplit(raw_path).path.strip("/"))
    elif call.service in ("dynamodb", "sqs", "ssm"):
        request = call.json
        names = {request[field] for field in ("TableName", "QueueName", "Name") if field in request}
        names |= {request["QueueUrl"].rpartition("/")[2]} if "QueueUrl" in request else set()
        names |= set(request.get("RequestItems", ())) | set(request.get("Names", ()))
        names |= {part["TableName"] for item in request.get("TransactItems", ()) for part in item.values()}
        yield from sorted(names)
    else:
        yield from parse_qs(call.request.decode(errors="replace")).get("StackName", ())
