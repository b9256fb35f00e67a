"""Storage that is away, on AWS: queue and records fail apart there, and nobody may wear out the jobs."""

import json
import smtplib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.aws.emulator import Emulator
from tests.aws.proxy import FOR_EVER, Fault, Kind, proxy
from tests.e2e.harness import SENDER, Installation, addresses, running, until
from tests.e2e.test_many_nodes import depth, repeat

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MESSAGES = 30


def logged(installation: Installation, event: str) -> bool:
    """Return whether a line of this name has been written."""
    return f'"{event}"' in installation.tree.log.read_text()


def refused_by_http(installation: Installation) -> tuple[int, str]:
    """Return status and Retry-After of a send."""
    request = urllib.request.Request(  # noqa: S310  # loopback
        f"{installation.tree.url}/api/v1/send/message",
        json.dumps({"to": ["x@example.com"], "from": SENDER, "plain_body": "x"}).encode(),
        {"Content-Type": "application/json", "X-Server-API-Key": installation.secrets["api_key"]},
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=60)  # noqa: S310
    with raised.value as answer:
        return answer.code, answer.headers["Retry-After"]


class TestStorageAway:
    def test_nothing_is_taken_anywhere_until_it_is_back(
        self, tmp_path: Path, on_aws: Mapping[str, str], ministack: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """DynamoDB is away, SQS is well: the node stops receiving, the doors say "later", and then all goes on."""
        with proxy(ministack.endpoint) as between:
            monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
            with running(tmp_path, **on_aws) as installation, installation.submission() as client:
                ids = [installation.send(each) for each in addresses("before", MESSAGES)]
                installation.until_delivered(addresses("before", MESSAGES))
                with installation.stores() as stores:
                    queue = stores.work["default"]

                    between.disturb(Fault(Kind.UNAVAILABLE, service="dynamodb", times=FOR_EVER))
                    repeat(queue, installation.secrets["server"]["id"], ids, "example.com")
                    until(lambda: logged(installation, "taking_stopped"), "the node to stop taking")
                    assert refused_by_http(installation) == (503, "5")
                    with pytest.raises((smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)) as raised:
                        client.sendmail(SENDER, ["smtp@example.com"], f"From: {SENDER}\r\n\r\nHi\r\n")
                    assert "4.3.0" in str(raised.value)
                    probes = between.count("dynamodb", app="deliver")["PutItem"]
                    received = between.count("sqs", app="deliver")["ReceiveMessage"]
                    until(lambda: between.count("dynamodb", app="deliver")["PutItem"] > probes + 8, "some more probes")
                    # At most the long poll that was under way has ended.
                    assert between.count("sqs", app="deliver")["ReceiveMessage"] <= received + 1

                    between.forget()
                    installation.send("after@example.com")
                    client.sendmail(SENDER, ["smtp@example.com"], f"From: {SENDER}\r\n\r\nHi\r\n")
                    installation.until_delivered(["after@example.com", "smtp@example.com"])
                    until(lambda: depth(queue).ready + depth(queue).in_flight == 0, "all repeated jobs to be deleted")
                    assert depth(queue).dead == 0

                assert logged(installation, "taking_resumed")
                assert set(installation.internet.copies().values()) == {1}
