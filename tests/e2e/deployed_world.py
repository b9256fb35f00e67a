"""A deployed stack on MiniStack, a node, and the internet that both see."""

import contextlib
import random
import textwrap
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from standalone.demo.tree import Tree
from tests.aws.emulator import free_port
from tests.aws.environments import environment
from tests.aws.proxy import Proxy, proxy
from tests.aws.requests import STACK
from tests.e2e.deployed import Deployment, FunctionURL
from tests.e2e.harness import SENDER, Installation, until
from tests.e2e.internet import NETWORK, Internet
from tests.fakes.mx_script import Step

GREY = "grey.test"
"""Its exchanger says once that it will take the message later."""

SLOW = "slow.test"
"""Its exchanger thinks longer than a node waits until it tells the queue that it is still at work."""

PARAMETERS = "EdgeProxy=cloudfront AllowNetworks=http:127.0.0.0/8"
"""Of the stack: tests stand for CloudFront, and receive webhooks on this machine."""


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

    def status(self, message_id: int) -> str:
        """Return what has become of a message so far, in Postal's words."""
        found = self.api.call("messages/message", {"id": message_id, "_expansions": ["status"]})
        return str(found["status"]["status"])

    def by_smtp(self, recipients: Sequence[str], body: str = "Hi.", **headers: str) -> None:
        """Send a message through the node's submission port."""
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with Installation(self.node, self.internet).submission(login=self.first["smtp"]) as client:
            client.sendmail(SENDER, recipients, f"From: {SENDER}\r\nSubject: Test\r\n{head}\r\n{body}\r\n")

    def run_minute(self) -> None:
        """Run the every-minute function now, as its schedule does."""
        answer = self.deployment.client("lambda").invoke(FunctionName=f"{STACK}-scheduled", Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()

    def hurry(self, function: str) -> None:
        """Make the waits of a function 300 times shorter, as the node's are; the next deploy takes it back."""
        functions, name = self.deployment.client("lambda"), f"{STACK}-{function}"
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["EDGEPOST_TIME_FACTOR"] = "300"
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def lose_bodies(self) -> None:
        """Remove all small bodies, as their expiry would."""
        table, dynamodb = self.deployment.outputs()["BodiesTable"], self.deployment.client("dynamodb")
        for item in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})


@contextlib.contextmanager
def deployed(directory: Path) -> Iterator[World]:
    """Deploy, make the installation, and start a node whose waits are 300 times shorter."""
    environment("sam")
    environment("ministack")
    port = free_port()
    with Internet() as internet, proxy(f"http://127.0.0.1:{port}") as recorder, pytest.MonkeyPatch.context() as patched:
        # Ann's domain says that this machine may send for her: only who is proved is told of failures.
        internet.publish("example.net", MX=[[10, "mx1.test"]], TXT=["v=spf1 ip4:127.0.0.1 -all"])
        internet.exchanger(GREY, rcpt=Step(reply="451 4.7.1 later", times=1))
        internet.exchanger(SLOW, rcpt=Step(delay_s=12))
        deployment = Deployment(directory, port, recorder.endpoint)
        try:
            deployment.script("local", parameters=PARAMETERS)
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


def operate(world: World) -> None:
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
    run("token-keys", "rotate")
    run("credential", "delete", str(made["id"]), "--server", "shop")
    run("domain", "delete", "shop.test", "--server", "shop", "--yes")
    run("server", "delete", "shop", "--yes")
    run("org", "delete", "acme", "--yes")
    run("test-mail", "test-mail@example.com")
    content = b64encode(random.Random(2).randbytes(100_000)).decode()
    world.by_smtp(["one@example.com", "two@example.com"], "\r\n".join(textwrap.wrap(content, 76)))
    until(lambda: world.internet.copies()["two@example.com"], "the message by SMTP to be delivered")
