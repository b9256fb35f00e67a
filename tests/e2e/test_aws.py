"""The whole tree on AWS's storage: the same doors, functions and node as on one machine."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from standalone.demo.sending import NotSent
from tests.aws.emulator import Emulator
from tests.aws.proxy import Fault, Kind, proxy
from tests.aws.resources import BUCKET, SECRETS, Resources
from tests.e2e.harness import SENDER, Installation, addresses, running, until
from tests.fakes.mx_script import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def took(installation: Installation, recipient: str) -> bool:
    """Send a message, under a key that makes a repetition harmless; return whether it was accepted."""
    try:
        installation.send(recipient, idempotency_key=recipient)
    except NotSent:
        return False
    return True


class TestServe:
    def test_delivers_what_comes_in_by_both_doors(self, tmp_path: Path, on_aws: Mapping[str, str]) -> None:
        """Records in DynamoDB, jobs and events through SQS, small bodies in DynamoDB and large ones in S3."""
        incompressible = " ".join(re.findall("..", hashlib.shake_256(b"x").hexdigest(20_000)))
        with running(tmp_path, **on_aws) as installation:
            by_http = installation.send("http@example.com")
            large = installation.send("large@example.com", plain_body=incompressible)
            with installation.submission() as client:
                client.sendmail(SENDER, ["smtp@example.com"], f"From: {SENDER}\r\nSubject: x\r\n\r\nHello\r\n")
            installation.until_delivered(["http@example.com", "large@example.com", "smtp@example.com"])

            for message_id in (by_http, large):
                (row,) = installation.until_status(message_id, "Sent")
                assert row["status"] == "Sent"
            assert incompressible[:60].encode() in installation.internet.to("large@example.com")[0].raw
            assert len(Resources(os.environ).client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]) == 1
            assert installation.tree.stop() == 0

    def test_retries_come_from_a_delayed_job(self, tmp_path: Path, on_aws: Mapping[str, str]) -> None:
        """SQS's own delay carries retries of up to fifteen minutes."""
        with running(tmp_path, **on_aws, time_factor="300") as installation:
            installation.internet.exchanger("slow.test", rcpt=Step("451 4.7.1 later", times=1))
            message_id = installation.send("x@slow.test")

            rows = installation.until_status(message_id, "Sent")

            assert sorted(row["status"] for row in rows) == ["Sent", "SoftFail"]

    def test_faults_of_the_storage_lose_nothing(
        self, tmp_path: Path, on_aws: Mapping[str, str], ministack: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Throttled, broken, cut off or without a reply: each message arrives once all the same."""
        recipients = addresses("storm", 30)
        with proxy(ministack.endpoint) as between:
            monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
            # A body that cannot be read costs an attempt: the next one comes after 5 s instead of 5 minutes.
            with running(tmp_path, **on_aws, time_factor="60") as installation:
                kinds = (Kind.THROTTLE, Kind.UNAVAILABLE, Kind.DROP, Kind.LOSE_REPLY, Kind.TRUNCATE, Kind.FAIL_AFTER)
                between.disturb(*(Fault(kind, times=10, every=9) for kind in kinds))

                for recipient in recipients:
                    until(lambda r=recipient: took(installation, r), "a door that takes the message")
                installation.until_delivered(recipients)

                assert sum(1 for call in between.calls if call.fault) > 30
                assert installation.internet.copies() == dict.fromkeys(recipients, 1)


class TestInitialize:
    def test_writes_the_secrets_where_it_runs_and_never_again(self, tmp_path: Path, on_aws: Mapping[str, str]) -> None:
        """Whoever founds the installation has the file; another machine finds everything there, without secrets."""
        with running(tmp_path, **on_aws) as installation:
            first = installation.tree.secrets()
            made = installation.tree.run(
                *("credential", "create", "--server", first["server"]["permalink"], "--type", "API")
            )
            assert installation.send("x@example.com", key=made["key"])
            assert installation.tree.run("status")["health"] == "OK"
            file = installation.tree.data_dir / "first-run.json"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            again = installation.tree.run("initialize")
            file.unlink()
            without = installation.tree.run("initialize")

        assert {name: first[name] for name in again} == again
        assert (without["domain"], without["api_key"]) == (first["domain"], None)
        assert list((tmp_path / "data").glob("*.db")) == []

    def test_makes_a_master_key_that_only_it_makes(self, tmp_path: Path, on_aws: Mapping[str, str]) -> None:
        """The key lies encrypted in SSM and nowhere on this machine."""
        with running(tmp_path, **on_aws):
            pass

        ssm = Resources(os.environ).client("ssm")
        assert ssm.get_parameter(Name=f"{SECRETS}/master-key")["Parameter"]["Type"] == "SecureString"
        assert list((tmp_path / "data").glob("master.key")) == []
