"""What the three functions use on AWS: keys from Parameter Store, suspensions from DynamoDB, hits to SQS.

Standalone gives them services of its own (standalone/lambda_http.py).
"""

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from functions.edge.aws import AWS, AWSFailed
from functions.edge.door import NotRecorded, Services, note
from functions.edge.hits import Cap, Hit
from shared.tokens import Tokens, read_keys

KEYS_READ_AGAIN_S = 60.0
"""A new key is known here within that time; signers take it up later (shared.flow.token_keys)."""

KEYS_READ_AT_ONCE_S = 10.0
"""How soon after a reading an unknown key id may cause another: a forger names one in every request."""

SUSPENDED_READ_AGAIN_S = 60.0
MAX_PAGES = 20

GIVEN_UP_S = 5.0
"""How long the queue is left alone after it failed: nobody else shall wait for its time limit."""


@functools.cache
def services() -> Services:
    """Return the services of this process; nothing is asked for before the first token."""
    return aws_services(os.environ)


def aws_services(environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> Services:
    """Return services on AWS.

    Args:
        environ: EDGEPOST_SECRETS_PATH, EDGEPOST_RECORDS_TABLE, EDGEPOST_EVENTS_QUEUE, EDGEPOST_EDGE_PROXY, and
            what Lambda adds.
        monotonic: seconds.
    """
    aws = AWS(environ)
    return Services(
        tokens=ParameterTokens(aws, environ["EDGEPOST_SECRETS_PATH"], monotonic),
        suspended=SuspendedServers(aws, environ["EDGEPOST_RECORDS_TABLE"], monotonic),
        record=EventsQueue(aws, environ["EDGEPOST_EVENTS_QUEUE"], monotonic),
        cap=Cap(monotonic),
        proxy=environ.get("EDGEPOST_EDGE_PROXY", ""),
    )


class ParameterTokens:
    """Tokens under the keys of the parameter ``token-keys``."""

    def __init__(self, aws: AWS, secrets_path: str, monotonic: Callable[[], float]) -> None:
        self._aws = aws
        self._name = f"{secrets_path.rstrip('/')}/token-keys"
        self._monotonic = monotonic
        self._text = ""
        self._tokens: Tokens | None = None
        self._read_at = float("-inf")

    def __call__(self, key_id: str) -> Tokens | None:
        """Return the tokens; the keys are read again if they are old, or do not have the wanted one."""
        age = self._monotonic() - self._read_at
        known = self._tokens is not None and self._tokens.knows(key_id)
        if age >= (KEYS_READ_AGAIN_S if known else KEYS_READ_AT_ONCE_S):
            self._read_at = self._monotonic()
            try:
                self._read()
            except (AWSFailed, KeyError, TypeError, ValueError) as exc:
                note("token_keys_unreadable", cause=str(exc) if isinstance(exc, AWSFailed) else type(exc).__name__)
        return self._tokens

    def _read(self) -> None:
        answer = self._aws.call("ssm", "AmazonSSM.GetParameter", "1.1", {"Name": self._name, "WithDecryption": True})
        text = str(answer["Parameter"]["Value"])
        if text != self._text:
            self._tokens = Tokens(read_keys(text))
            self._text = text


class SuspendedServers:
    """The list of suspended servers (shared.store.suspended); while it cannot be read, the last one counts."""

    def __init__(self, aws: AWS, table: str, monotonic: Callable[[], float]) -> None:
        self._aws = aws
        self._table = table
        self._monotonic = monotonic
        self._ids: frozenset[int] = frozenset()
        self._read_at = float("-inf")

    def __call__(self) -> frozenset[int]:
        """Return the ids."""
        if self._monotonic() - self._read_at >= SUSPENDED_READ_AGAIN_S:
            self._read_at = self._monotonic()
            try:
                self._ids = self._read()
            except (AWSFailed, KeyError, TypeError, ValueError) as exc:
                note("suspended_servers_unreadable", cause=str(exc))
        return self._ids

    def _read(self) -> frozenset[int]:
        found: set[int] = set()
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :suspended",
            "ExpressionAttributeValues": {":suspended": {"S": "suspended"}},
            "ProjectionExpression": "sk",
        }
        for _ in range(MAX_PAGES):
            answer = self._aws.call("dynamodb", "DynamoDB_20120810.Query", "1.0", query)
            found.update(int(item["sk"]["S"]) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return frozenset(found)


class EventsQueue:
    """The events queue."""

    def __init__(self, aws: AWS, url: str, monotonic: Callable[[], float]) -> None:
        self._aws = aws
        self._url = url
        self._monotonic = monotonic
        self._open_at = float("-inf")

    def __call__(self, hit: Hit) -> None:
        """Send a hit; its server is the group, as everywhere on this queue.

        Raises:
            NotRecorded: the queue did not take it, or failed just before.
        """
        if self._monotonic() < self._open_at:
            raise NotRecorded("the events queue failed a moment ago")
        message = {"QueueUrl": self._url, "MessageBody": hit.body, "MessageGroupId": str(hit.server_id)}
        try:
            self._aws.call("sqs", "AmazonSQS.SendMessage", "1.0", message)
        except AWSFailed as exc:
            self._open_at = self._monotonic() + GIVEN_UP_S
            raise NotRecorded(str(exc)) from exc
