"""template.yaml as data, its references resolved to the names that a deployed stack has."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.architecture.sources import ROOT
from tests.aws.environments import environment

LOAD = "import json; from cfnlint.decode.cfn_yaml import load; print(json.dumps(load('template.yaml'), default=str))"

REGION = "us-east-1"
ACCOUNT = "000000000000"

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
}

ARNS = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::Serverless::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}",
}


@cache
def template() -> Mapping[str, Any]:
    """Return the template, every short form written out (``!Ref X`` as ``{"Ref": "X"}``)."""
    python = environment("sam") / "python"
    done = subprocess.run([python, "-c", LOAD], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def resources(kind: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the properties of all resources of a type, by logical id."""
    return {name: each.get("Properties", {}) for name, each in template()["Resources"].items() if each["Type"] == kind}


@dataclass(frozen=True, slots=True)
class Names:
    """What a stack's references mean.

    Args:
        stack: its name.
        physical: names of tables, queues, buckets and functions by logical id; the
            logical id stands for those that are not given.
    """

    stack: str
    physical: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """Return the value with ``Ref``, ``Fn::GetAtt`` of an Arn, and ``Fn::Sub`` replaced."""
        match value:
            case {"Ref": str(name)}:
                return self._ref(name)
            case {"Fn::GetAtt": [str(name), "Arn"]}:
                return self._arn(name)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", lambda found: self._named(found[1]), text)
            case dict() if any(name.startswith("Fn::") for name in value):
                raise NotImplementedError(f"a policy's {value}")
            case dict():
                return {name: self.resolve(each) for name, each in value.items()}
            case list():
                return [self.resolve(each) for each in value]
            case _:
                return value

    def _named(self, text: str) -> str:
        name, _, attribute = text.partition(".")
        if not attribute:
            return self._ref(name)
        if attribute != "Arn":
            raise NotImplementedError(f"a policy's {text}")
        return self._arn(name)

    def _ref(self, name: str) -> str:
        if name == "AWS::StackName":
            return self.stack
        return PSEUDO.get(name) or self.physical.get(name, name)

    def _arn(self, name: str) -> str:
        kind = template()["Resources"][name]["Type"]
        return ARNS[kind].format(self.physical.get(name, name))


def policies() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield who may do something, and the statements that say what, references unresolved.

    Roles are named after their function's logical id (``ApiRole`` is ``api``), the
    managed policies ``NodePolicy`` and ``OperatorPolicy`` are ``node`` and ``operator``.
    """
    for name, properties in resources("AWS::IAM::Role").items():
        statements = [
            statement
            for policy in properties.get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        yield name.removesuffix("Role").lower(), statements
    for name, properties in resources("AWS::IAM::ManagedPolicy").items():
        yield name.removesuffix("Policy").lower(), properties["PolicyDocument"]["Statement"]
