"""The doors once more, on DynamoDB, SQS and S3; and a large send through the function that Lambda would run."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.emulator import Emulator
from tests.aws.resources import Resources
from tests.e2e.harness import Installation, running
from tests.e2e.test_doors import (  # noqa: F401  # collected here too
    LARGE,
    TestAPI,
    TestDeliveries,
    TestLargeSend,
    TestSignatures,
    TestSubmission,
    put,
)

pytestmark = pytest.mark.e2e

HANDLE = """
import json, sys
from functions.api.handler import handler
json.dump(handler(json.load(sys.stdin), None), sys.stdout)
"""


@pytest.fixture(scope="module")
def installation(ministack: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with the usual internet, on an emulator of AWS."""
    ministack.reset()
    resources = Resources(ministack.environment)
    resources.make_storage()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in ministack.environment.items():
            patched.setenv(name, value)
        with running(tmp_path_factory.mktemp("edgepost"), time_factor="300", **resources.settings()) as found:
            yield found


def invoke(installation: Installation, path: str, body: object) -> Any:
    """Return what the function answers to a POST, in a process of its own as in Lambda."""
    event = {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "POST",
        "headers": {
            "Content-Type": "application/json",
            "X-Server-API-Key": installation.secrets["api_key"],
            "Host": "abc.execute-api.us-east-1.amazonaws.com",
        },
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"resourcePath": "/{proxy+}", "httpMethod": "POST", "identity": {"sourceIp": "192.0.2.7"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    done = subprocess.run(
        [sys.executable, "-c", HANDLE],
        input=json.dumps(event),
        env=installation.tree.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["statusCode"], json.loads(answer["body"])


class TestLambda:
    def test_a_large_send_goes_past_it(self, installation: Installation) -> None:
        """Lambda would refuse these 11 MB; what it gets is a name."""
        attachment = {"name": "a.bin", "content_type": "application/x-a", "data": base64.b64encode(LARGE).decode()}
        request = {
            "to": ["lambda@example.com"],
            "from": "noreply@yourdomain.com",
            "plain_body": "See the attachment.",
            "attachments": [attachment],
        }
        content = json.dumps(request).encode()

        status, place = invoke(installation, "/api/v2/uploads", {"size_bytes": len(content)})
        assert status == 201, place
        assert "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost" in place["url"]
        put(installation, place, content)
        status, answer = invoke(installation, "/api/v1/send/message", {"upload": place["id"]})

        assert (status, answer["status"]) == (200, "success"), answer
        installation.until_delivered(["lambda@example.com"])
        (mail,) = installation.internet.to("lambda@example.com")
        assert base64.b64encode(LARGE)[:60] in mail.raw
        assert len(mail.raw) > len(LARGE) * 4 / 3

    def test_an_answer_over_its_limit_is_a_clear_error(self, installation: Installation) -> None:
        """The whole message is larger than Lambda returns; without a word of ours that would be a 502."""
        message_id = installation.api().send(
            {
                "to": ["view@example.com"],
                "from": "noreply@yourdomain.com",
                "plain_body": "x",
                "attachments": [{"name": "a", "content_type": "a/b", "data": base64.b64encode(LARGE).decode()}],
            }
        )["view@example.com"]

        status, answer = invoke(installation, "/api/v1/messages/message", {"id": message_id, "_expansions": True})
        small, _ = invoke(installation, "/api/v1/messages/message", {"id": message_id, "_expansions": ["status"]})

        assert (status, answer["data"]["code"]) == (200, "AnswerTooLarge")
        assert small == 200
