"""The further CloudFormation stacks: linted as AWS reads them, and what their machines would do is done with fakes."""

import json
import re
import runpy
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from functions.edge.visitors import PREFETCH_HEADERS
from tests.architecture.sources import ROOT
from tests.e2e.programs import program
from tests.infra.yaml_files import read_yaml, tools

STACKS = sorted(
    path for path in (ROOT / "infra").glob("*.yaml") if path.read_text().startswith("AWSTemplateFormatVersion")
)

VALUES = {
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "node-1",
    "Address": "192.0.2.7",
    "Address.AllocationId": "eipalloc-1",
    "RootStack": "edgepost",
    "Hostname": "mail1.example.com",
    "ReturnPathDomain": "rp.example.com",
    "Image": "registry.example.com/edgepost:0.1.0",
    "IpPools": "default",
    "FurtherSettings": "EDGEPOST_LOG_LEVEL=debug EDGEPOST_DELIVERY_CONNECTIONS=100",
    "Lines": "node-1-lines",
}
"""What CloudFormation would fill in."""


def test_stacks_are_clean() -> None:
    """cfn-lint knows every resource's properties as AWS publishes them."""
    words = [tools() / "cfn-lint", *STACKS]

    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)

    assert len(STACKS) >= 6
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
class TestTemplates:
    def test_explain_every_parameter_and_output(self, path: Path) -> None:
        """The console shows these sentences to whoever deploys it."""
        template = read_yaml(path)
        parts = template["Parameters"] | template.get("Outputs", {})

        assert [name for name, each in parts.items() if not each.get("Description", "").endswith(".")] == []

    def test_check_what_they_are_given(self, path: Path) -> None:
        """A mistyped value is refused before anything is made."""
        template = read_yaml(path)
        open_ended = [
            name
            for name, each in template["Parameters"].items()
            if each["Type"] == "String" and "AllowedPattern" not in each and "AllowedValues" not in each
        ]

        # A certificate has lines; AWS itself reads it.
        assert set(open_ended) <= {"AuthorityCertificate"}


class TestEdge:
    @pytest.fixture
    def tracking(self) -> Any:
        """All resources; the distribution's configuration is that of Tracking."""
        return read_yaml(ROOT / "infra/edge.yaml")["Resources"]

    def test_every_path_tells_host_and_viewer(self, tracking: Any) -> None:
        """The functions believe these two headers behind CloudFront (functions/edge/request.py)."""
        distribution = tracking["Tracking"]["Properties"]["DistributionConfig"]
        behaviours = [*distribution["CacheBehaviors"], distribution["DefaultCacheBehavior"]]
        policy = tracking["TrackingHeaders"]["Properties"]["OriginRequestPolicyConfig"]["HeadersConfig"]

        assert {each.get("PathPattern", "/c/*"): each["TargetOriginId"] for each in behaviours} == {
            "/o/*": "pixel",
            "/u/*": "unsubscribe",
            "/c/*": "redirect",
        }
        for each in behaviours:
            assert each["OriginRequestPolicyId"] == {"Ref": "TrackingHeaders"}
            (association,) = each["FunctionAssociations"]
            assert association["FunctionARN"] == {"Fn::GetAtt": ["KeepHost", "FunctionARN"]}
        read = {name for name, _ in PREFETCH_HEADERS}
        assert {each.lower() for each in policy["Headers"]} == read | {
            "x-forwarded-host",
            "cloudfront-viewer-address",
            "user-agent",
        }
        assert len(policy["Headers"]) <= 10

    def test_the_viewers_host_is_copied(self, tracking: Any) -> None:
        """Whatever the viewer says of itself in that header is replaced; run in Node."""
        code = tracking["KeepHost"]["Properties"]["FunctionCode"]
        event = {"request": {"headers": {"host": {"value": "t.example"}, "x-forwarded-host": {"value": "forged"}}}}
        script = f"{code}\nconsole.log(JSON.stringify(handler({json.dumps(event)})))"

        done = subprocess.run([program("node"), "-e", script], capture_output=True, text=True, check=True, timeout=30)

        headers = json.loads(done.stdout)["headers"]
        assert headers == {"host": {"value": "t.example"}, "x-forwarded-host": {"value": "t.example"}}

    def test_signs_what_only_gets(self, tracking: Any) -> None:
        """The pixel's and the links' functions are closed to others; POSTs of mail programs cannot be signed."""
        origins = tracking["Tracking"]["Properties"]["DistributionConfig"]["Origins"]

        assert {each["Id"] for each in origins if "OriginAccessControlId" in each} == {"pixel", "redirect"}

    def test_asks_for_outputs_that_the_root_stack_has(self, tracking: Any) -> None:
        """infra/deploy_stack.py fills them in by name."""
        outputs = read_yaml(ROOT / "template.yaml")["Outputs"]

        assert {"ApiUrl", "PixelUrl", "RedirectUrl", "UnsubscribeUrl"} <= outputs.keys()


class TestMonitoring:
    def test_each_queue_and_each_consumer_is_on_the_dashboard(self) -> None:
        """What waits where nobody looks is found by a customer."""
        root = read_yaml(ROOT / "template.yaml")
        stack = read_yaml(ROOT / "infra/monitoring.yaml")
        queues = {name for name in root["Outputs"] if name.endswith(("Queue", "Queues"))}
        consumers = {
            name
            for name, resource in root["Resources"].items()
            if resource["Type"] == "AWS::Serverless::Function"
            and any(each["Type"] in ("SQS", "Schedule") for each in resource["Properties"].get("Events", {}).values())
        }

        body, names = stack["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        shown = json.loads(re.sub(r"\$\{[A-Za-z:]+\}", "x", body))

        assert len(shown["widgets"]) >= 10
        assert queues | consumers <= stack["Parameters"].keys()
        assert {each for each in consumers if f"${{{each}}}" not in body} == set()
        assert {each for each in queues if json.dumps(names).count(f'"Ref": "{each}"') == 0} == set()
        assert {each for each in names if f"${{{each}}}" not in body} == set()


class TestPool:
    def test_queue_is_like_the_root_stacks(self) -> None:
        """A pool whose jobs wait or die otherwise than others' would be a riddle."""
        root = ROOT / "template.yaml"
        if not root.exists():
            pytest.skip("there is no root stack")

        ours, theirs = (
            {
                name: value
                for name, value in read_yaml(path)["Resources"]["WorkQueue"]["Properties"].items()
                if name != "Tags"
            }
            for path in (ROOT / "infra/pool.yaml", root)
        )

        assert ours == theirs


class TestParameters:
    @pytest.fixture
    def parameters(self) -> Any:
        """The rule under test."""
        return runpy.run_path(str(ROOT / "infra/deploy_stack.py"))["parameters"]

    DECLARED: Sequence[Mapping[str, str]] = (
        {"ParameterKey": "Pool", "Description": "Name of the pool."},
        {"ParameterKey": "WorkQueues", "Description": "Output."},
        {"ParameterKey": "Days", "DefaultValue": "30"},
    )

    def test_given_then_root_then_present_then_default(self, parameters: Any) -> None:
        """An update keeps what it was not told, but follows the root stack."""
        chosen = parameters(self.DECLARED, {"Pool": "bulk"}, {"WorkQueues": "default=q", "Pool": "x"}, ["Days"])

        assert chosen == [
            {"ParameterKey": "Pool", "ParameterValue": "bulk"},
            {"ParameterKey": "WorkQueues", "ParameterValue": "default=q"},
            {"ParameterKey": "Days", "UsePreviousValue": True},
        ]

    def test_every_problem_is_named(self, parameters: Any) -> None:
        """One at a time would take as many tries as there are mistakes."""
        with pytest.raises(SystemExit) as found:
            parameters(self.DECLARED, {"Poll": "bulk"}, {}, [])

        assert str(found.value).splitlines() == [
            "deploy_stack: Poll is no parameter of this template",
            "deploy_stack: Pool=… is missing: Name of the pool.",
            "deploy_stack: WorkQueues=… is missing: Output.",
        ]


class Machine:
    """A directory that stands for the root of a new machine, and programs that only note how they were called."""

    FAKES: Mapping[str, str] = {
        "aws": "",
        "dnf": "",
        "docker": "",
        "systemctl": "",
        "sleep": "",
        # The first answer to each question is not the one waited for.
        "curl": """
            case "$*" in
            */api/token) echo token ;;
            */instance-id) echo i-123 ;;
            */public-ipv4)
              if [ -e "$ROOT/asked-ip" ]; then echo 192.0.2.7; else touch "$ROOT/asked-ip"; echo 203.0.113.5; fi ;;
            */target-lifecycle-state)
              if [ -e "$ROOT/asked-state" ]; then echo Terminated; else touch "$ROOT/asked-state"; echo InService; fi ;;
            esac
        """,
    }

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.log.touch()
        (root / "bin").mkdir()
        for folder in ("etc/systemd/system", "usr/local/lib", "usr/local/sbin", "root"):
            (root / folder).mkdir(parents=True)
        for name, body in self.FAKES.items():
            program = root / "bin" / name
            program.write_text(f'#!/bin/bash\necho "{name} $*" >>"$ROOT/log"\n{body}\n')
            program.chmod(0o755)

    def run(self, script: str) -> None:
        """Run a script on this machine."""
        inside = re.sub(r"(?<![\w.])/(etc|usr/local|root)/", rf"{self.root}/\1/", script)
        environ = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "ROOT": str(self.root)}
        done = subprocess.run(
            ["bash"], input=inside, env=environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def calls(self) -> list[str]:
        """Return what was called, in order; questions to the metadata service left out."""
        return [line for line in self.log.read_text().splitlines() if not line.startswith(("curl", "sleep"))]


def user_data() -> str:
    """Return the script that a new machine runs, as CloudFormation would hand it over."""
    template = read_yaml(ROOT / "infra/nodes-ec2.yaml")
    text = template["Resources"]["Machine"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"]
    return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: VALUES[found[1]], text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which the script has run."""
    made = Machine(tmp_path)
    made.run(user_data())
    return made


class TestNodeOnEC2:
    def test_has_its_address_before_the_node_starts(self, machine: Machine) -> None:
        """Mail from the passing address would be refused, and would harm both addresses' reputation."""
        calls = machine.calls()

        taken = calls.index(
            "aws ec2 associate-address --allocation-id eipalloc-1 --instance-id i-123 --allow-reassociation"
        )
        started = calls.index("systemctl enable --now --no-block edgepost-rdns edgepost edgepost-drain")
        assert taken < started
        assert (machine.root / "asked-ip").exists()

    def test_node_gets_its_settings(self, machine: Machine) -> None:
        """One file for docker run; every line is a setting."""
        lines = (machine.root / "etc/edgepost.env").read_text().splitlines()

        assert lines[:3] == ["EDGEPOST_BACKEND=aws", "EDGEPOST_STACK=edgepost", "EDGEPOST_HOSTNAME=mail1.example.com"]
        assert lines[-2:] == ["EDGEPOST_LOG_LEVEL=debug", "EDGEPOST_DELIVERY_CONNECTIONS=100"]

    def test_units_are_whole(self, machine: Machine) -> None:
        """Here-documents that end too early leave half a unit."""
        units = {path.name: path.read_text() for path in (machine.root / "etc/systemd/system").iterdir()}

        assert set(units) == {"edgepost.service", "edgepost-rdns.service", "edgepost-drain.service"}
        assert all(
            text.startswith("[Unit]") and text.endswith("WantedBy=multi-user.target\n") for text in units.values()
        )
        assert "--domain-name mail1.example.com\n" in units["edgepost-rdns.service"]
        assert "registry.example.com/edgepost:0.1.0 node\n" in units["edgepost.service"]
        assert "${" not in "".join(units.values())

    def test_drains_before_it_is_ended(self, machine: Machine) -> None:
        """The group waits for this word; without the drain what was begun would wait for its lease to end."""
        machine.log.write_text("")

        machine.run((machine.root / "usr/local/sbin/edgepost-drain").read_text())

        stopped, told = machine.calls()
        assert stopped == "systemctl stop edgepost"
        assert told.startswith("aws --region eu-central-1 autoscaling complete-lifecycle-action ")
        assert told.endswith("--lifecycle-hook-name drain --auto-scaling-group-name node-1 --instance-id i-123")


class TestNodeCertificates:
    def test_are_what_roles_anywhere_takes(self, tmp_path: Path) -> None:
        """A version 3 certificate that may sign, is no authority, and leads to one that is."""
        script = ROOT / "infra/node/certificates.sh"
        subprocess.run([script, "authority", tmp_path], check=True, capture_output=True)
        subprocess.run([script, "node", tmp_path, "vps1"], check=True, capture_output=True)

        words = ("openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "authority.crt", tmp_path / "vps1.crt")
        verified = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        shown = subprocess.run(
            [
                "openssl",
                "x509",
                "-in",
                tmp_path / "vps1.crt",
                "-noout",
                "-subject",
                "-ext",
                "basicConstraints,keyUsage",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

        assert verified.endswith(": OK\n")
        assert "CN = vps1" in shown
        assert "CA:FALSE" in shown
        assert "Digital Signature" in shown
        assert (tmp_path / "vps1.key").stat().st_mode & 0o777 == 0o600

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        """A second authority in place of the first would shut out every node."""
        script = ROOT / "infra/node/certificates.sh"
        subprocess.run([script, "authority", tmp_path], check=True, capture_output=True)

        again = subprocess.run([script, "authority", tmp_path], capture_output=True, text=True, check=False)

        assert again.returncode == 1
        assert "is there already" in again.stderr
