"""Opening an installation on AWS: its names, its master key, and who is seen to call."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.adapters import opening
from shared.adapters.aws.master_key import SSMMasterKey
from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.stack import names_of
from shared.domain.errors import InvalidValue, StorageUnavailable
from shared.ports import Key, Put
from shared.settings import Settings, SettingsError
from tests.aws.conftest import Cloud, Line
from tests.aws.proxy import FOR_EVER, Fault, Kind
from tests.aws.resources import SECRETS

OUTPUTS = {
    "RecordsTable": "edgepost-records",
    "BodiesTable": "edgepost-bodies",
    "BodiesBucket": "edgepost-bucket",
    "EventsQueue": "https://sqs.us-east-1.amazonaws.com/1/events",
    "WebhooksQueue": "https://sqs.us-east-1.amazonaws.com/1/webhooks",
    "InboundQueue": "https://sqs.us-east-1.amazonaws.com/1/inbound",
    "WorkQueues": "default=https://sqs.us-east-1.amazonaws.com/1/default,warm=https://sqs.us-east-1.amazonaws.com/1/warm",
    "SecretsPath": "/edgepost/production",
}


def deploy(cloud: Cloud, outputs: dict[str, str]) -> None:
    """Make a stack that has these outputs."""
    outputs_of = {name: {"Value": value} for name, value in outputs.items()}
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Name": "/unused", "Value": "x"}}
    template = {"Resources": {"Unused": parameter}, "Outputs": outputs_of}
    cloud.direct.client("cloudformation").create_stack(StackName="production", TemplateBody=json.dumps(template))


@pytest.fixture
def environment(cloud: Cloud, line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Give the environment of a program on this installation, which leads the SDK through the proxy."""
    for name, value in line.environment.items():
        monkeypatch.setenv(name, value)
    given = {f"EDGEPOST_{name.upper()}": value for name, value in cloud.direct.settings().items()}
    yield given
    opening.close_stores()


class TestNamesOf:
    def test_takes_what_is_set(self, cloud: Cloud, environment: dict[str, str]) -> None:
        """A function asks nobody."""
        names = names_of(Settings.from_env(environment), cloud.clients)

        assert (names.records_table, names.secrets_path) == ("records", SECRETS)
        assert list(names.work_queues) == ["default"]
        assert cloud.between.count() == {}

    def test_asks_the_stack_for_the_others(self, cloud: Cloud) -> None:
        """A node is told the name of its stack, and nothing else."""
        deploy(cloud, OUTPUTS)
        settings = Settings.from_env(
            {"EDGEPOST_BACKEND": "aws", "EDGEPOST_STACK": "production", "EDGEPOST_RECORDS_TABLE": "mine"}
        )

        names = names_of(settings, cloud.clients)

        assert (names.records_table, names.bodies_bucket) == ("mine", "edgepost-bucket")
        assert dict(names.work_queues) == {
            "default": "https://sqs.us-east-1.amazonaws.com/1/default",
            "warm": "https://sqs.us-east-1.amazonaws.com/1/warm",
        }
        assert cloud.between.count() == {"DescribeStacks": 1}

    def test_lists_everything_that_is_missing(self, cloud: Cloud) -> None:
        """One start, one list."""
        deploy(cloud, {"RecordsTable": "records"})

        for stack in ({}, {"EDGEPOST_STACK": "production"}):
            with pytest.raises(SettingsError) as caught:
                names_of(Settings.from_env({"EDGEPOST_BACKEND": "aws", **stack}), cloud.clients)
            assert len(caught.value.problems) == (7 if stack else 8)

    @pytest.mark.parametrize("output", ["WebhooksQueue", "InboundQueue"])
    def test_a_stack_of_an_older_template_is_refused(self, cloud: Cloud, output: str) -> None:
        """Mail that is taken for a queue which is not there would wait for ever."""
        deploy(cloud, {name: value for name, value in OUTPUTS.items() if name != output})
        settings = Settings.from_env({"EDGEPOST_BACKEND": "aws", "EDGEPOST_STACK": "production"})

        with pytest.raises(SettingsError, match=f"has no output {output}; update it"):
            names_of(settings, cloud.clients)

    def test_says_that_there_is_no_such_stack(self, cloud: Cloud) -> None:
        """A typing error must not look like an outage."""
        with pytest.raises(SettingsError, match="no stack nowhere"):
            names_of(Settings.from_env({"EDGEPOST_BACKEND": "aws", "EDGEPOST_STACK": "nowhere"}), cloud.clients)

    def test_says_that_the_stack_cannot_be_asked(self, cloud: Cloud) -> None:
        """And an outage not like a typing error."""
        cloud.between.disturb(Fault(Kind.UNAVAILABLE, "cloudformation", times=FOR_EVER))

        with pytest.raises(StorageUnavailable):
            names_of(Settings.from_env({"EDGEPOST_BACKEND": "aws", "EDGEPOST_STACK": "x"}), cloud.clients)


class TestMasterKey:
    def test_is_made_once(self, cloud: Cloud) -> None:
        """What a first key wrapped could not be opened with a second."""
        key = SSMMasterKey(cloud.clients, "/edgepost/x/")

        key.make(lambda size: b"1" * size)
        key.make(lambda size: b"2" * size)

        assert key.read() == b"1" * 32
        kept = cloud.direct.client("ssm").get_parameter(Name="/edgepost/x/master-key")["Parameter"]
        assert kept["Type"] == "SecureString"

    @pytest.mark.parametrize("kind", [Kind.LOSE_REPLY, Kind.UNAVAILABLE, Kind.THROTTLE], ids=lambda kind: kind.name)
    def test_survives_a_lost_reply(self, cloud: Cloud, kind: Kind) -> None:
        """The repetition finds the key of the first try, and leaves it."""
        key = SSMMasterKey(cloud.clients, "/edgepost/x")
        cloud.between.disturb(Fault(kind, operation="PutParameter"))

        key.make(lambda size: b"1" * size)

        assert key.read() == b"1" * 32

    def test_says_what_to_do_when_there_is_none(self, cloud: Cloud) -> None:
        """Only ``initialize`` makes one: any other program would found a second installation."""
        with pytest.raises(StorageUnavailable, match="edgepost initialize"):
            SSMMasterKey(cloud.clients, "/edgepost/none").read()

    def test_refuses_what_is_no_key(self, cloud: Cloud) -> None:
        """Somebody edited the parameter."""
        key = SSMMasterKey(cloud.clients, "/edgepost/x")
        key.make(lambda _: b"short")

        with pytest.raises(InvalidValue, match="/edgepost/x/master-key"):
            key.read()


class TestOpenStores:
    async def test_opening_asks_nothing(self, cloud: Cloud, environment: dict[str, str]) -> None:
        """Cold starts are paid for; a function that wraps nothing may not even read the key."""
        opening.open_stores(Settings.from_env(environment), caller="events")

        assert cloud.between.count() == {}

    def test_loads_neither_sqlite_nor_cryptography(self) -> None:
        """Most functions open no secret, and none of them a database file."""
        code = (
            "import sys, shared.adapters.opening, shared.adapters.aws.opening;"
            "print([m for m in ('sqlite3', 'cryptography', 'pynamodb.models') if m in sys.modules])"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout.strip() == "[]"

    async def test_each_caller_is_seen_by_its_name(self, cloud: Cloud, environment: dict[str, str]) -> None:
        """In one process, too: the consumers of standalone run several functions."""
        settings = Settings.from_env(environment)

        for caller in ("events", "scheduled"):
            await opening.open_stores(settings, caller=caller).records.put(Put(Key("p", caller), {}))

        assert [call.app for call in cloud.between.calls] == ["events", "scheduled"]
        assert opening.open_stores(settings, caller="events") is opening.open_stores(settings, caller="events")

    async def test_secrets_open_under_the_key_of_the_installation(
        self, cloud: Cloud, environment: dict[str, str]
    ) -> None:
        """The key is read once, when it is first needed."""
        settings = Settings.from_env(environment)
        opening.found_installation(settings, caller="cli")
        one, other = (opening.open_stores(settings, caller=name).keyring for name in ("api", "deliver"))

        wrapped = one.wrap(b"secret", context="c")

        assert [other.unwrap(wrapped, context="c") for _ in range(3)] == [b"secret"] * 3
        assert cloud.between.count("ssm") == {"PutParameter": 1, "GetParameter": 2}

    async def test_a_key_in_the_settings_wins(self, cloud: Cloud, environment: dict[str, str]) -> None:
        """Then SSM is not asked, nor is a key made there."""
        settings = Settings.from_env({**environment, "EDGEPOST_MASTER_KEY": "A" * 43 + "="})

        opening.found_installation(settings)
        opening.open_stores(settings, caller="api").keyring.wrap(b"secret", context="c")

        assert cloud.between.count("ssm") == {}

    async def test_nothing_is_pruned(self, cloud: Cloud, environment: dict[str, str]) -> None:
        """DynamoDB and S3 remove what has expired by themselves."""
        assert await opening.prune(Settings.from_env(environment), cloud.clock(), 100) == 0
        assert cloud.between.count() == {}


class TestClients:
    def test_are_made_when_first_used_and_once(self, environment: dict[str, str]) -> None:
        """A client takes tens of milliseconds of a cold start."""
        clients = Clients("x", 1, Patience())

        assert not clients._made
        assert clients.s3 is clients.s3
        assert clients.sqs is not clients.sqs_polls
        assert len(clients._made) == 3

    def test_patience_ends_well_within_a_lease(self) -> None:
        """Whoever holds a lease of thirty seconds hears of a failure before it ends."""
        patience = Patience()
        tries = len(patience.pauses) + 1

        longest = tries * patience.read + sum(patience.pauses, start=timedelta(0))

        assert longest.total_seconds() < 20
        assert dataclasses.asdict(patience)["connect"] <= patience.read
