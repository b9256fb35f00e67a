"""What a function imports before it answers its first event, counted with the AWS backend: cold start is a contract."""

import os
import subprocess
import sys

import pytest

SETTINGS = {
    "EDGEPOST_BACKEND": "aws",
    "EDGEPOST_RECORDS_TABLE": "records",
    "EDGEPOST_BODIES_TABLE": "bodies",
    "EDGEPOST_BODIES_BUCKET": "bucket",
    "EDGEPOST_EVENTS_QUEUE": "https://sqs.us-east-1.amazonaws.com/000000000000/events",
    "EDGEPOST_WORK_QUEUES": "default=https://sqs.us-east-1.amazonaws.com/000000000000/work",
    "EDGEPOST_SECRETS_PATH": "/edgepost/test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "edgepost-test",
}

BARE = "fastapi, mangum, boto3"
"""What every API on Lambda with these libraries imports."""

API_LIMIT = 1.2
"""Times the bare one: our own code, PynamoDB, Powertools and compression."""

CONSUMER_LIMIT = 480
"""Modules; botocore alone are 263."""


def imported(modules: str) -> set[str]:
    """Return what a new Python has loaded after importing these modules, beside what it starts with."""
    program = f"import sys; before = set(sys.modules); import {modules}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


class TestImports:
    def test_of_the_api_are_few_more_than_bare_fastapi(self) -> None:
        """A customer waits for the first of them."""
        assert len(imported("functions.api.entry")) <= API_LIMIT * len(imported(BARE))

    @pytest.mark.parametrize("function", ["events", "scheduled"])
    def test_of_consumers_are_bounded_and_have_no_web_framework(self, function: str) -> None:
        """Nobody waits for them, but each cold start is paid for."""
        found = imported(f"functions.{function}.entry")

        assert len(found) <= CONSUMER_LIMIT
        assert {module.split(".")[0] for module in found} & {"fastapi", "starlette", "pydantic", "mangum"} == set()

    @pytest.mark.parametrize("function", ["api", "events", "scheduled"])
    def test_have_nothing_of_the_other_shape(self, function: str) -> None:
        """No SQLite, no resolver before a domain is due, and no library that opens secrets: none may read the key."""
        found = imported(f"functions.{function}.entry")

        assert {module.split(".")[0] for module in found} & {"sqlite3", "dns", "cryptography", "boto3"} == set()
        assert [module for module in found if module.startswith("shared.adapters.embedded")] == []
