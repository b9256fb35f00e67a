"""What recorded calls ask of IAM, and what Lambda asks in a function's role by itself.

Actions are those of the service authorization reference: a batch needs the
permission of the single call, a transaction those of its writes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.aws.calls import Call
from tests.aws.iam import Request
from tests.aws.template import ACCOUNT, REGION, Names, resources

STACK = "edgepost-test"
"""The tracking functions know no other name of theirs than Lambda's."""

WHO = {
    "api": "api",
    "events": "events",
    "webhooks": "webhooks",
    "inbound": "inbound",
    "scheduled": "scheduled",
    f"{STACK}-pixel": "pixel",
    f"{STACK}-redirect": "redirect",
    f"{STACK}-unsubscribe": "unsubscribe",
    "receive": "node",
    "deliver": "node",
    "node": "node",
    "cli": "operator",
}
"""Whose policy allows the calls of which part."""

ARNS = {
    "dynamodb": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "s3": "arn:aws:s3:::{}",
    "ssm": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{{}}",
    "cloudformation": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{{}}/id",
}
WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
OBJECTS = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket"}


def requests_of(call: Call) -> Iterator[Request]:
    """Yield each action on each resource that a call needs.

    Raises:
        NotImplementedError: it is of a service that this module does not know.
    """
    if call.operation == "TransactWriteItems":
        yield from _writes(call)
        return
    action = _action(call)
    context = {"dynamodb:LeadingKeys": _partition(call.json)} if action == "dynamodb:Query" else {}
    for name in call.resources:
        yield Request(action, ARNS[call.service].format(name), context)
        if call.service == "s3" and call.status == 404:
            # Only who may list the bucket is told so; others get 403 (S3 API reference, GetObject).
            yield Request("s3:ListBucket", ARNS["s3"].format(name.partition("/")[0]))


def _writes(call: Call) -> Iterator[Request]:
    for item in call.json["TransactItems"]:
        for kind, write in item.items():
            yield Request(f"dynamodb:{WRITES[kind]}", ARNS["dynamodb"].format(write["TableName"]))


def _partition(query: Mapping[str, Any]) -> str:
    """Return the partition key that a Query asks for (IAM's dynamodb:LeadingKeys)."""
    values = query["ExpressionAttributeValues"]
    (placeholder,) = set(re.findall(r" = (:\w+)", query["KeyConditionExpression"]))
    return str(values[placeholder]["S"])


def _action(call: Call) -> str:
    if call.service not in ARNS:
        raise NotImplementedError(f"{call.app} calls {call.operation} of {call.service}")
    if call.service == "sqs":
        return f"sqs:{call.operation.removesuffix('Batch')}"
    return f"{call.service}:{OBJECTS.get(call.operation, call.operation)}"


def made_by_lambda(who: str, names: Names) -> Iterator[Request]:
    """Yield what Lambda does in the role of a function, such as ``events``; nothing for others.

    It writes log lines, and takes from and deletes in the queues of event sources
    (Lambda developer guide, "Execution role permissions").
    """
    properties = resources("AWS::Serverless::Function").get(f"{who.capitalize()}Function")
    if properties is None:
        return
    group = names.resolve(resources("AWS::Logs::LogGroup")[properties["LoggingConfig"]["LogGroup"]["Ref"]])
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group['LogGroupName']}:log-stream:2026/11/27"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        yield Request(action, stream)
    for event in properties.get("Events", {}).values():
        if event["Type"] == "SQS":
            for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
                yield Request(action, names.resolve(event["Properties"]["Queue"]))
