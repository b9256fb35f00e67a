"""The stack as everybody deploys it, on MiniStack: sent through the function's URL, delivered by a node, kept, deleted.

Everything talks to MiniStack through a proxy that records who called what: at the
end the calls are held against the template's permissions, one by one.
"""

import contextlib
import random
import smtplib
import textwrap
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from standalone.demo.sending import NotSent
from standalone.demo.tree import Tree
from tests.architecture.sources import ROOT
from tests.aws.emulator import free_port
from tests.aws.environments import environment
from tests.aws.iam import Request, Statement, is_allowed, unused
from tests.aws.proxy import Proxy, proxy
from tests.aws.requests import WHO, made_by_lambda, requests_of
from tests.aws.template import policies
from tests.e2e.deployed import STACK, Deployment, FunctionURL
from tests.e2e.harness import SENDER, Installation, until
from tests.e2e.internet import NETWORK, Internet
from tests.fakes.mx_script import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GREY = "grey.test"
"""Its exchanger says once that it will take the message later."""

SLOW = "slow.test"
"""Its exchanger thinks longer than a node waits until it tells the queue that it is still at work."""

RACERS = 8

ZIP_LIMITS_MB = {"ApiFunction": 12, "EventsFunction": 6, "ScheduledFunction": 6}
UNZIPPED_LIMITS_MB = {"ApiFunction": 40, "EventsFunction": 25, "ScheduledFunction": 25}
"""Byte code included.  Lambda's own limit is 250 MB; every megabyte is fetched in a cold start."""


class World:
    """A deployed stack, a node, and the internet that both see."""

    def __init__(self, deployment: Deployment, first: Any, recorder: Proxy, internet: Internet, node: Tree) -> None:
        self.deployment = deployment
        self.first = first
        """What ``edgepost initialize`` printed."""

        self.recorder = recorder
        self.internet = internet
        self.node = node

    @property
    def api(self) -> FunctionURL:
        """The API with the first server's key."""
        return self.deployment.api(self.first["api_key"])

    def send(self, recipient: str, *, api: FunctionURL | None = None, key: str = "", **fields: object) -> int:
        """Send a message through the function's URL and return its id."""
        message = {"to": [recipient], "from": SENDER, "subject": "Test", "plain_body": "Hello"} | fields
        return (api or self.api).send(message, idempotency_key=key)[recipient]

    def statuses(self, message_id: int, api: FunctionURL | None = None) -> list[str]:
        """Return the statuses of all attempts and holds so far."""
        return [each["status"] for each in (api or self.api).deliveries(message_id)]

    def by_smtp(self, recipients: Sequence[str], body: str = "Hi.", **headers: str) -> None:
        """Send a message through the node's submission port."""
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with Installation(self.node, self.internet).submission(login=self.first["smtp"]) as client:
            client.sendmail(SENDER, recipients, f"From: {SENDER}\r\nSubject: Test\r\n{head}\r\n{body}\r\n")

    def run_minute(self) -> None:
        """Run the every-minute function now, as its schedule does."""
        answer = self.deployment.client("lambda").invoke(FunctionName=f"{STACK}-scheduled", Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stack after `make deploy-local`, with a node whose waits are 300 times shorter."""
    environment("sam")
    environment("ministack")
    directory = tmp_path_factory.mktemp("deployed")
    port = free_port()
    with Internet() as internet, proxy(f"http://127.0.0.1:{port}") as recorder, pytest.MonkeyPatch.context() as patched:
        internet.exchanger(GREY, rcpt=Step(reply="451 4.7.1 later", times=1))
        internet.exchanger(SLOW, rcpt=Step(delay_s=12))
        deployment = Deployment(directory, port, recorder.endpoint)
        try:
            deployment.script()
            for name, value in deployment.aws.items():
                patched.setenv(name, value)
            first = deployment.edgepost("initialize")
            settings = {
                "backend": "aws",
                "stack": STACK,
                "dns_servers": f"127.0.0.1:{internet.dns_port}",
                "delivery_port": str(internet.mx_port),
                "allow_networks": f"smtp:{NETWORK}.0/24",
                "time_factor": "300",
                "first_retry": "20m",  # longer than a queue's delay, so retries are schedule records
                "hold_expiry": "2h",
            }
            with Tree(directory / "node", settings, runs="node") as node:
                yield World(deployment, first, recorder, internet, node)
                node.stop()
        finally:
            deployment.kill()


class TestDeployLocal:
    """In this order: what one test leaves is what the next one finds."""

    def test_a_message_sent_through_the_function_is_delivered_by_a_node(self, world: World) -> None:
        """This is the product, in its AWS shape: API, queue, node, events and counters."""
        message_id = world.send("ada@example.com")

        until(lambda: world.statuses(message_id) == ["Sent"], "the function to show Sent")

        (copy,) = world.internet.to("ada@example.com")
        assert b"Subject: Test" in copy.raw

    def test_both_doors_answer(self, world: World) -> None:
        """The REST API reaches the same function; without a key it says so as Postal does."""
        url = urlsplit(world.deployment.outputs()["RestApiUrl"])
        emulated = f"{world.deployment.endpoint}/_aws/execute-api/{(url.hostname or '').split('.')[0]}{url.path}"

        answer = httpx.post(f"{emulated}/api/v1/send/message", json={}, timeout=30)

        assert answer.json()["data"]["code"] == "AccessDenied"

    def test_a_large_message_comes_back_whole(self, world: World) -> None:
        """Its body lies in the bucket, and travels to the node and back through the function."""
        content = random.Random(1).randbytes(200_000)
        attachment = {"name": "a.bin", "content_type": "application/octet-stream", "data": b64encode(content).decode()}

        message_id = world.send("big@example.com", attachments=[attachment])

        until(lambda: world.statuses(message_id) == ["Sent"], "the large message to be sent")
        shown = world.api.call("messages/message", {"id": message_id, "_expansions": ["attachments"]})
        assert shown["attachments"][0]["data"].replace("\n", "") == b64encode(content).decode()
        assert world.deployment.client("s3").list_objects_v2(Bucket=world.deployment.outputs()["BodiesBucket"])[
            "KeyCount"
        ]

    def test_the_same_idempotency_key_is_one_message(self, world: World) -> None:
        """A client that got no answer repeats; two functions may run at once for it."""
        ids = {world.send("once@example.com", key="order-1") for _ in range(2)}

        until(lambda: world.statuses(*ids) == ["Sent"], "the message to be sent")
        assert world.internet.copies()["once@example.com"] == 1

    @pytest.mark.parametrize("door", ["api", "receive"])
    def test_whoever_loses_a_race_for_a_key_removes_the_body(self, world: World, door: str) -> None:
        """Several send with one key at once, until one of them stored a body in vain."""
        send = {
            "api": lambda key: world.send(f"{key}@example.net", key=key),
            "receive": lambda key: world.by_smtp([f"{key}@example.net"], Idempotency_Key=key),
        }[door]
        keys = [f"{door}-race-{number}" for number in range(50)]

        def accepted(key: str) -> bool:
            # Refused for now is what the losers are.
            with contextlib.suppress(NotSent, smtplib.SMTPException):
                send(key)
                return True
            return False

        def raced() -> bool:
            key = keys.pop()
            with ThreadPoolExecutor(RACERS) as racers:
                assert any(racers.map(accepted, [key] * RACERS))
            return "DeleteObject" in world.recorder.count("s3", app=door)

        until(raced, "somebody to lose a race")
        until(lambda: set(world.internet.copies().values()) == {1}, "nobody to have two copies, and all to have one")

    def test_a_long_conversation_keeps_its_job(self, world: World) -> None:
        """The node tells the queue that it is still at work; else another node would take the job."""
        message_id = world.send(f"ada@{SLOW}")

        until(lambda: world.statuses(message_id) == ["Sent"], "the slow exchanger to take the message")

        assert world.recorder.count("sqs", app="deliver")["ChangeMessageVisibilityBatch"]

    def test_a_retry_goes_through_the_schedule(self, world: World) -> None:
        """A wait beyond 15 minutes is a record, which the every-minute function makes a job."""
        message_id = world.send(f"ada@{GREY}")
        until(lambda: world.statuses(message_id) == ["SoftFail"], "the first attempt to fail")

        def is_sent() -> bool:
            world.run_minute()
            return world.statuses(message_id) == ["SoftFail", "Sent"]

        until(is_sent, "the second attempt")

    def test_held_mail_is_released_cancelled_and_expires(self, world: World) -> None:
        """The node holds, the operator's commands decide, and the every-minute function ends what nobody decided."""
        run = world.deployment.edgepost
        run("server", "create", "Trial", "--organization", world.first["organization"], "--mode", "Development")
        run("domain", "add", "trial.test", "--server", "trial", "--trusted")
        key = run("credential", "create", "--server", "trial", "--type", "API")["key"]
        api = world.deployment.api(key)
        held = [world.send(f"held-{n}@example.com", api=api, **{"from": "a@trial.test"}) for n in range(4)]
        until(lambda: all(world.statuses(each, api) == ["Held"] for each in held), "the messages to be held")

        run("message", "release", str(held[0]), "--server", "trial")
        run("message", "cancel", str(held[1]), "--server", "trial")

        def is_over() -> bool:
            world.run_minute()
            return world.statuses(held[2], api)[-1] == "HoldCancelled"

        until(lambda: world.statuses(held[0], api)[-1] == "Sent", "the released message to be sent")
        _lose_bodies(world)
        run("message", "release", str(held[3]), "--server", "trial")
        until(lambda: world.statuses(held[3], api)[-1] == "HardFail", "the node to see that the body is gone")
        assert api.call("messages/message", {"id": held[3], "_expansions": ["raw_message"]})["raw_message"] is None
        until(is_over, "the hold to expire")
        assert world.internet.copies().keys().isdisjoint({"held-1@example.com", "held-2@example.com"})

    def test_every_event_is_recorded(self, world: World) -> None:
        """The events function takes them from its queue by itself, and leaves none there."""
        queue = world.deployment.outputs()["EventsQueue"]
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def is_empty() -> bool:
            found = world.deployment.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=counts)
            return set(found["Attributes"].values()) == {"0"}

        until(is_empty, "the events queue to be empty")
        table = world.deployment.client("dynamodb").scan(TableName=world.deployment.outputs()["RecordsTable"])
        kinds = [item["sk"]["S"].split("#")[2] for item in table["Items"] if item["pk"]["S"].startswith("events#")]
        assert {"delivered", "delayed", "held", "hold_cancelled"} <= set(kinds)

    def test_packages_are_small(self, world: World) -> None:
        """What is not in a package is neither fetched at a cold start nor there to be attacked."""
        for function, limit in ZIP_LIMITS_MB.items():
            folder = ROOT / ".aws-sam" / "build" / function
            files = [path for path in folder.rglob("*") if path.is_file()]
            packed = BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(folder))
            assert packed.tell() < limit * 1_000_000, function
            assert sum(path.stat().st_size for path in files) < UNZIPPED_LIMITS_MB[function] * 1_000_000, function

    def test_an_update_keeps_what_is_there(self, world: World) -> None:
        """Another deploy changes configuration and code; mail sent before is still shown after it."""
        message_id = world.send("before@example.com")
        until(lambda: world.statuses(message_id) == ["Sent"], "the message to be sent")

        world.deployment.script("local", parameters="Hostname=mail.changed.test")

        function = world.deployment.client("lambda").get_function_configuration(FunctionName=f"{STACK}-api")
        assert function["Environment"]["Variables"]["EDGEPOST_HOSTNAME"] == "mail.changed.test"
        assert world.statuses(message_id) == ["Sent"]
        assert world.statuses(world.send("after@example.com")) in ([], ["Sent"])

    def test_every_call_is_permitted_and_every_permission_used(self, world: World) -> None:
        """Least privilege, proved from what the functions, the node and the commands really did (see below)."""
        _operate(world)
        names = world.deployment.names()
        asked: dict[str, set[Request]] = {}
        for call in world.recorder.calls:
            asked.setdefault(WHO[call.app], set()).update(requests_of(call))

        refused: list[str] = []
        wasted: list[str] = []
        for who, documents in policies():
            statements = [Statement.of(names.resolve(each)) for each in documents]
            requests = [*asked[who], *made_by_lambda(who, names)]
            refused += [
                f"{who}: {each.action} on {each.resource}" for each in requests if not is_allowed(each, statements)
            ]
            wasted += [f"{who}: {each}" for each in unused(statements, requests)]

        assert not refused, "\n".join(sorted(refused))
        assert not wasted, "\n".join(wasted)

    def test_deleting_leaves_nothing_running(self, world: World) -> None:
        """With its data, because that was asked for; and MiniStack ends."""
        world.node.stop()

        said = world.deployment.script("delete")

        assert "RecordsTable" in said
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{world.deployment.endpoint}/_ministack/health")
        assert not Path(world.deployment.directory / "ministack" / "pid").exists()


def _operate(world: World) -> None:
    """Run the commands that an operator has and the tests above did not need."""
    run = world.deployment.edgepost
    run("org", "create", "Acme")
    run("org", "update", "acme", "--name", "Acme Limited")
    run("server", "create", "Shop", "--organization", "acme")
    run("server", "suspend", "shop", "--reason", "a test")
    run("server", "unsuspend", "shop")
    run("domain", "add", "shop.test", "--server", "shop")
    made = run("credential", "create", "--server", "shop", "--type", "SMTP-IP", "--network", "192.0.2.0/28")
    for words in (("org", "list"), ("server", "list"), ("domain", "list", "--server", "shop")):
        run(*words)
    # It also says that no `edgepost serve` runs here, and ends with 1 for that.
    run("status", statuses=(0, 1))
    run("credential", "delete", str(made["id"]), "--server", "shop")
    run("domain", "delete", "shop.test", "--server", "shop", "--yes")
    run("server", "delete", "shop", "--yes")
    run("org", "delete", "acme", "--yes")
    run("test-mail", "test-mail@example.com")
    content = b64encode(random.Random(2).randbytes(100_000)).decode()
    world.by_smtp(["one@example.com", "two@example.com"], "\r\n".join(textwrap.wrap(content, 76)))
    until(lambda: world.internet.copies()["two@example.com"], "the message by SMTP to be delivered")


def _lose_bodies(world: World) -> None:
    """Remove all small bodies, as their expiry would."""
    table, dynamodb = world.deployment.outputs()["BodiesTable"], world.deployment.client("dynamodb")
    for item in dynamodb.scan(TableName=table)["Items"]:
        dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})
