"""The tables, queues and bucket of one installation, made in an emulator as template.yaml has them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boto3.session import Session
from botocore.config import Config

RECORDS = "records"
BODIES = "bodies"
BUCKET = "edgepost-bodies"
SECRETS = "/edgepost/test"


@dataclass
class Resources:
    """What was made, by the SDK's own clients: an admin's view beside the adapters."""

    environment: Mapping[str, str]
    queues: dict[str, str] = field(default_factory=dict)
    """URL by name."""

    def __post_init__(self) -> None:
        """Name the account."""
        self._session = Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return a client of an administrator, which goes by that name."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service, endpoint_url=self.environment["AWS_ENDPOINT_URL"], config=Config(user_agent_appid="admin")
            )
        return self._clients[service]

    def make_storage(self) -> None:
        """Make both tables and the bucket."""
        dynamodb = self.client("dynamodb")
        for table, keys in ((RECORDS, ("pk", "sk")), (BODIES, ("pk",))):
            dynamodb.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
            )
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True}
            )
        self.client("s3").create_bucket(Bucket=BUCKET)

    def make_queue(self, name: str, *, max_receives: int = 50) -> str:
        """Make a queue with its dead letter queue, once; return its URL."""
        if name not in self.queues:
            sqs = self.client("sqs")
            dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives})
            attributes = {"RedrivePolicy": redrive}
            self.queues[name] = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return self.queues[name]

    def settings(self, pools: Sequence[str] = ("default",)) -> dict[str, str]:
        """Make everything that is missing; return the settings, by field name, that name it."""
        work = ",".join(f"{pool}={self.make_queue(f'work-{pool}')}" for pool in pools)
        return {
            "backend": "aws",
            "records_table": RECORDS,
            "bodies_table": BODIES,
            "bodies_bucket": BUCKET,
            "events_queue": self.make_queue("events"),
            "webhooks_queue": self.make_queue("webhooks"),
            "inbound_queue": self.make_queue("inbound"),
            "work_queues": work,
            "secrets_path": SECRETS,
        }
