"""The stack, deployed to MiniStack by the script that everybody uses, and what works with it from outside."""

import json
import os
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from boto3.session import Session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from standalone.demo.sending import API
from standalone.demo.tree import command, environment
from tests.architecture.sources import ROOT
from tests.aws.requests import STACK
from tests.aws.template import Names
from tests.e2e.harness import DOMAIN

DEPLOY_S = 600
VIEWER = "198.51.100.7"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


@dataclass(frozen=True, slots=True)
class FunctionURL(API):
    """The API through the function URL, which an emulator knows by the Host header."""

    host: str

    def call(self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Any:
        """Return ``data`` of a successful answer."""
        return API.call(self, path, body, headers={**(headers or {}), "Host": self.host})

    def get(self, path: str) -> Any:
        """Return what the API v2 answers to a GET."""
        headers = {"Host": self.host, "X-Server-API-Key": self.key}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=60).raise_for_status().json()


class Deployment:
    """One stack on a MiniStack of its own.

    Args:
        directory: where MiniStack, nodes and the command line keep their files.
        port: a free one, for MiniStack.
        through: the URL that functions, nodes and commands call: MiniStack's, or that of a proxy before it.
    """

    def __init__(self, directory: Path, port: int, through: str) -> None:
        self.directory = directory
        self.endpoint = f"http://127.0.0.1:{port}"
        self.aws = {
            "AWS_ENDPOINT_URL": through,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        """The environment in which nodes and commands find AWS."""

        self._script = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "MINISTACK_DIR": str(directory / "ministack"),
            "FUNCTIONS_ENDPOINT_URL": through,
            "STACK": STACK,
        }

    def script(self, *words: str, parameters: str = "") -> str:
        """Run localstack/deploy.sh and return what it printed; a failure shows that."""
        done = subprocess.run(
            [str(ROOT / "localstack" / "deploy.sh"), *words],
            env=environment({}) | self._script | {"PARAMETERS": parameters},
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

    def names(self) -> Names:
        """Return what the template's references mean in this stack."""
        found = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        # A queue's physical id is its URL.
        return Names(
            STACK, {each["LogicalResourceId"]: each["PhysicalResourceId"].rpartition("/")[2] for each in found}
        )

    def edgepost(self, *words: str, statuses: Collection[int] = (0,)) -> Any:
        """Run a command with ``--json``, as the script's last lines say, and return its document."""
        ours = {"backend": "aws", "stack": STACK, "first_domain": DOMAIN, "data_dir": str(self.directory / "data")}
        ours["allow_networks"] = "http:127.0.0.0/8"
        done = subprocess.run(
            command(*words, "--json"),
            env=environment(ours) | self.aws,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in statuses, f"edgepost {words}: {done.stderr or done.stdout}"
        return json.loads(done.stdout)

    def api(self, key: str) -> FunctionURL:
        """Return the API with a server's key."""
        return FunctionURL(self.endpoint, key, urlsplit(self.outputs()["ApiUrl"]).hostname or "")

    def ask_edge(
        self, output: str, path: str, *, host: str, method: str = "GET", body: bytes = b"", signed: bool = True
    ) -> httpx.Response:
        """Ask a tracking function as the edge stack does: signed, with the host and the viewer in headers.

        Args:
            output: of the stack, such as ``RedirectUrl``.
            path: what the viewer asked for.
            host: the tracking domain.
            method: GET, HEAD or POST.
            body: of a POST.
            signed: as origin access control does.
        """
        url = f"{self.outputs()[output].rstrip('/')}{path}"
        headers = {"X-Forwarded-Host": host, "CloudFront-Viewer-Address": f"{VIEWER}:4711", "User-Agent": BROWSER}
        request = AWSRequest(method, url, headers=headers, data=body)
        if signed:
            SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
        found = urlsplit(url)
        return httpx.request(
            method,
            f"{self.endpoint}{found.path}",
            headers={**dict(request.headers), "Host": found.hostname or ""},
            content=body,
            timeout=60,
        )

    def kill(self) -> None:
        """End MiniStack, whatever it is doing."""
        pid = self.directory / "ministack" / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), 9)
            pid.unlink()
