"""The tracking functions' own calls to AWS, against an emulator and what our adapters wrote there."""

import random
from datetime import timedelta
from typing import Any

import pytest

from functions.edge.wiring import aws_services
from functions.redirect.handler import answer as redirect
from shared.adapters.aws.dynamodb import DynamoDB
from shared.adapters.aws.dynamodb_records import DynamoDBRecords
from shared.adapters.aws.session import Patience
from shared.adapters.aws.sqs_queue import SQSQueue, Windows
from shared.adapters.aws.token_key_parameter import TokenKeyParameter
from shared.adapters.clock import utc_now
from shared.domain.event import Event, EventKind
from shared.domain.ids import ServerId
from shared.flow.token_keys import ensure_keys
from shared.store.suspended import Suspended
from shared.tokens import CLICK, Tokens
from tests.aws.resources import RECORDS
from tests.fakes.visits import HOST, NAMED, TARGET, visit


@pytest.fixture
def cloud(cloud: Any) -> Any:
    """Give an emulator with nothing in it but tables."""
    cloud.emulator.reset()
    cloud.resources.queues.clear()
    cloud.resources.make_storage()
    return cloud


async def test_a_click_goes_through_real_services(cloud: Any) -> None:
    """Keys that a node made, a queue that a consumer reads, a list that the command line writes."""
    rng = random.Random(3)
    keys = ensure_keys(TokenKeyParameter(cloud.clients, "/edgepost/test"), rng.randbytes)
    url = cloud.resources.make_queue("events", max_receives=50)
    environ = cloud.emulator.environment | {
        "EDGEPOST_SECRETS_PATH": "/edgepost/test",
        "EDGEPOST_RECORDS_TABLE": RECORDS,
        "EDGEPOST_EVENTS_QUEUE": url,
    }
    seconds = [0.0]
    services = aws_services(environ, lambda: seconds[0])
    link = "/c/" + Tokens(keys).make(CLICK, HOST, NAMED._replace(target=TARGET))

    answer = redirect(visit(link), services)
    assert answer.response["headers"]["location"] == TARGET
    assert answer.hit is not None
    services.record(answer.hit)

    queue = SQSQueue(cloud.clients, cloud.threads, url, patience=Patience(), rng=rng, windows=Windows())
    [received] = await queue.receive(1, wait=timedelta(seconds=1), visibility=timedelta(seconds=30))
    event = Event.from_json(received.body)
    assert (event.kind, event.message_id, event.data["url"]) == (EventKind.CLICKED, NAMED.message_id, TARGET)

    dynamodb = DynamoDB(cloud.clients, cloud.threads, Patience(), rng)
    suspended = Suspended(DynamoDBRecords(dynamodb, RECORDS, utc_now))
    await suspended.add([ServerId(NAMED.server_id), ServerId(5)])
    assert services.suspended() == frozenset()
    seconds[0] += 61
    assert redirect(visit(link), services).response["statusCode"] == 410
