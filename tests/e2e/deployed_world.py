"""A deployed stack on MiniStack, a node, and the internet that both see."""

import contextlib
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
from tests.e2e.harness import SENDER, Installation
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

    def by_smtp(self, recipients: Sequence[str], body: str = "Hi.", **headers: str) -> None:
        """Send a message through the node's submission port."""
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with Installation(self.node, self.internet).submission(login=self.first["smtp"]) as client:
            client.sendmail(SENDER, recipients, f"From: {SENDER}\r\nSubject: Test\r\n{head}\r\n{body}\r\n")

    def run_minute(self) -> None:
        """Run the every-minute function now, as its schedule does."""
        answer = self.deployment.client("lambda").invoke(FunctionName=f"{STACK}-scheduled", Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()


@contextlib.contextmanager
def deployed(directory: Path) -> Iterator[World]:
    """Deploy, make the installation, and start a node whose waits are 300 times shorter."""
    environment("sam")
    environment("ministack")
    port = free_port()
    with Internet() as internet, proxy(f"http://127.0.0.1:{port}") as recorder, pytest.MonkeyPatch.context() as patched:
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
