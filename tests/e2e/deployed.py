"""The stack, deployed to MiniStack by the script that everybody uses, and what works with it from outside."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from boto3.session import Session

from standalone.demo.sending import API
from standalone.demo.tree import command, environment
from tests.architecture.sources import ROOT
from tests.e2e.harness import DOMAIN

DEPLOY_S = 600
STACK = "edgepost-test"


@dataclass(frozen=True, slots=True)
class FunctionURL(API):
    """The API through the function URL, which an emulator knows by the Host header."""

    host: str

    def call(self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Any:
        """Return ``data`` of a successful answer."""
        return API.call(self, path, body, headers={**(headers or {}), "Host": self.host})


class Deployment:
    """One stack on a MiniStack of its own.

    Args:
        directory: where MiniStack, nodes and the command line keep their files.
        port: a free one, for MiniStack.
        functions_endpoint: what the functions call instead of MiniStack, such as a recording proxy.
    """

    def __init__(self, directory: Path, port: int, functions_endpoint: str = "") -> None:
        self.directory = directory
        self.endpoint = f"http://127.0.0.1:{port}"
        self._script = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "MINISTACK_DIR": str(directory / "ministack"),
            "FUNCTIONS_ENDPOINT_URL": functions_endpoint,
            "STACK": STACK,
        }

    def script(self, *words: str) -> str:
        """Run localstack/deploy.sh and return what it printed; a failure shows that."""
        done = subprocess.run(
            [str(ROOT / "localstack" / "deploy.sh"), *words],
            env=environment({}) | self._script,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEPLOY_S,
        )
        assert done.returncode == 0, f"deploy.sh {words}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def client(self, service: str) -> Any:
        """Return an administrator's client."""
        return Session("test", "test", region_name="us-east-1").client(service, endpoint_url=self.endpoint)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the stack."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def environment(self, endpoint: str = "", **settings: str) -> dict[str, str]:
        """Return the environment of a node or of the command line, as the script's last lines tell it."""
        ours = {
            "backend": "aws",
            "stack": STACK,
            "first_domain": DOMAIN,
            "data_dir": str(self.directory / "data"),
        }
        aws = {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return environment(ours | settings) | aws

    def edgepost(self, *words: str, endpoint: str = "") -> Any:
        """Run a command with ``--json`` and return its document."""
        done = subprocess.run(
            command(*words, "--json"),
            env=self.environment(endpoint),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"edgepost {words}: {done.stderr or done.stdout}"
        return json.loads(done.stdout)

    def api(self, key: str) -> FunctionURL:
        """Return the API with a server's key."""
        return FunctionURL(self.endpoint, key, urlsplit(self.outputs()["ApiUrl"]).hostname or "")

    def kill(self) -> None:
        """End MiniStack, whatever it is doing."""
        pid = self.directory / "ministack" / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), 9)
            pid.unlink()
