"""What a function imports before it answers its first event, counted with the AWS backend: cold start is a contract."""

import os
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

SETTINGS = {
    "EDGEPOST_BACKEND": "aws",
    "EDGEPOST_RECORDS_TABLE": "records",
    "EDGEPOST_BODIES_TABLE": "bodies",
    "EDGEPOST_BODIES_BUCKET": "bucket",
    "EDGEPOST_EVENTS_QUEUE": "https://sqs.us-east-1.amazonaws.com/000000000000/events",
    "EDGEPOST_WEBHOOKS_QUEUE": "https://sqs.us-east-1.amazonaws.com/000000000000/webhooks",
    "EDGEPOST_INBOUND_QUEUE": "https://sqs.us-east-1.amazonaws.com/000000000000/inbound",
    "EDGEPOST_WORK_QUEUES": "default=https://sqs.us-east-1.amazonaws.com/000000000000/work",
    "EDGEPOST_SECRETS_PATH": "/edgepost/test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "edgepost-test",
    # What a function reads while it starts goes nowhere.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
}

BARE = "fastapi, mangum, boto3"
"""What every API on Lambda with these libraries imports."""

OURS = ("functions", "shared")

API_LIMIT = 1.2
"""Times the bare one, with PynamoDB, Powertools and compression.  Our own modules are counted apart: they are small."""

OWN_LIMIT = 140
"""Modules of ours in any function."""

CONSUMER_LIMIT = 420
"""Modules of others; botocore alone are 263."""

CALLER_LIMIT = 600
"""Of those that call endpoints: aiohttp, dnspython and cryptography come on top."""

TRACKING_LIMIT = 80
"""Beyond what ``python -I -S`` starts with."""


def imported(modules: str, *options: str) -> set[str]:
    """Return what a new Python has loaded after importing these modules, beside what it starts with."""
    program = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r}); import {modules};"
        " print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        env={"PATH": os.environ["PATH"], **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # Lines of log may stand before: what could not be read, as nothing can be here.
    return set(done.stdout.splitlines()[-1].split())


def of_others(found: set[str]) -> set[str]:
    """Return what is not ours."""
    return {module for module in found if module.split(".")[0] not in OURS}


class TestImports:
    @pytest.mark.parametrize("function", ["api", "events", "inbound", "scheduled", "webhooks"])
    def test_of_our_own_are_bounded(self, function: str) -> None:
        """A stage that pulls in the whole domain is noticed here."""
        found = imported(f"functions.{function}.entry")

        assert len(found - of_others(found)) <= OWN_LIMIT

    def test_of_the_api_are_few_more_than_bare_fastapi(self) -> None:
        """A customer waits for the first of them."""
        assert len(of_others(imported("functions.api.entry"))) <= API_LIMIT * len(imported(BARE))

    @pytest.mark.parametrize("function", ["events", "scheduled"])
    def test_of_consumers_are_bounded_and_have_no_web_framework(self, function: str) -> None:
        """Nobody waits for them, but each cold start is paid for."""
        found = imported(f"functions.{function}.entry")

        assert len(of_others(found)) <= CONSUMER_LIMIT
        assert {module.split(".")[0] for module in found} & {"fastapi", "starlette", "pydantic", "mangum"} == set()

    @pytest.mark.parametrize("function", ["inbound", "webhooks"])
    def test_of_callers_of_endpoints_are_bounded(self, function: str) -> None:
        """A webhook is late by its cold start, and so is mail."""
        found = imported(f"functions.{function}.entry")

        assert len(of_others(found)) <= CALLER_LIMIT
        assert {module.split(".")[0] for module in found} & {"fastapi", "pydantic", "sqlite3", "boto3"} == set()

    @pytest.mark.parametrize("function", ["pixel", "redirect", "unsubscribe"])
    def test_of_what_mail_leads_to_are_few(self, function: str) -> None:
        """Somebody waits for each cold start: standard library only."""
        found = imported(f"functions.{function}.handler", "-I", "-S")

        assert len(found) <= TRACKING_LIMIT
        assert {module.split(".")[0] for module in found} - sys.stdlib_module_names == {"functions", "shared"}

    @pytest.mark.parametrize("function", ["api", "events", "scheduled"])
    def test_have_nothing_of_the_other_shape(self, function: str) -> None:
        """No SQLite, no resolver before a domain is due, and no library that opens secrets: none may read the key."""
        found = imported(f"functions.{function}.entry")

        assert {module.split(".")[0] for module in found} & {"sqlite3", "dns", "cryptography", "boto3"} == set()
        assert [module for module in found if module.startswith("shared.adapters.embedded")] == []
