"""The tracking functions' own calls to AWS, against an emulator and what our adapters wrote there."""

import asyncio
import random
import shutil
import subprocess
import sys
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions.edge.wiring import aws_services
from functions.redirect.handler import answer as redirect
from shared.adapters.aws.calls import Calls
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
from tests.architecture.sources import ROOT
from tests.aws.resources import RECORDS
from tests.fakes.visits import FIREFOX, HOST, NAMED, TARGET, visit


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

    queue = SQSQueue(cloud.clients, _calls(cloud), url, windows=Windows())
    [received] = await queue.receive(1, wait=timedelta(seconds=1), visibility=timedelta(seconds=30))
    event = Event.from_json(received.body)
    assert (event.kind, event.message_id, event.data["url"]) == (EventKind.CLICKED, NAMED.message_id, TARGET)

    dynamodb = DynamoDB(cloud.clients, _calls(cloud))
    suspended = Suspended(DynamoDBRecords(dynamodb, RECORDS, utc_now))
    await suspended.add([ServerId(NAMED.server_id), ServerId(5)])
    assert services.suspended() == frozenset()
    seconds[0] += 61
    assert redirect(visit(link), services).response["statusCode"] == 410


async def test_a_deployed_package_answers_at_its_function_url(cloud: Any, tmp_path: Path) -> None:
    """Made by the build, started by the emulator with nothing but a standard library, reached over HTTP."""
    archive = await asyncio.to_thread(_package, tmp_path)
    keys = ensure_keys(TokenKeyParameter(cloud.clients, "/edgepost/test"), random.Random(3).randbytes)
    url = cloud.resources.make_queue("events", max_receives=50)
    functions = cloud.resources.client("lambda")
    functions.create_function(
        FunctionName="redirect",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/redirect",
        Handler="functions.redirect.handler.handler",
        Code={"ZipFile": archive},
        Timeout=10,
        Environment={
            "Variables": {
                "EDGEPOST_SECRETS_PATH": "/edgepost/test",
                "EDGEPOST_RECORDS_TABLE": RECORDS,
                "EDGEPOST_EVENTS_QUEUE": url,
            }
        },
    )
    made = functions.create_function_url_config(FunctionName="redirect", AuthType="NONE")
    host = urlsplit(made["FunctionUrl"]).hostname or ""

    def ask(path: str) -> tuple[int, str | None]:
        endpoint = urlsplit(cloud.emulator.endpoint)
        connection = HTTPConnection(endpoint.hostname or "", endpoint.port, timeout=30)
        connection.request("GET", path, headers={"Host": host, "User-Agent": FIREFOX})
        answer = connection.getresponse()
        connection.close()
        return answer.status, answer.headers["location"]

    token = Tokens(keys).make(CLICK, host, NAMED._replace(target=TARGET))
    assert ask(f"/c/{token}") == (307, TARGET)
    assert ask(f"/c/{token[:-1]}") == (404, None)
    queue = SQSQueue(cloud.clients, _calls(cloud), url, windows=Windows())
    received = await queue.receive(10, wait=timedelta(seconds=1), visibility=timedelta(seconds=30))
    assert [Event.from_json(each.body).data["url"] for each in received] == [TARGET]


def _calls(cloud: Any) -> Calls:
    return Calls(cloud.threads, Patience(), random.Random(1))


def _package(directory: Path) -> bytes:
    """Return the zip file of the redirect function."""
    build = [sys.executable, str(ROOT / "infra/package.py"), "redirect", str(directory / "package")]
    subprocess.run([*build, "--python", "3.13", "--architecture", "host"], check=True)
    return Path(shutil.make_archive(str(directory / "redirect"), "zip", directory / "package")).read_bytes()
