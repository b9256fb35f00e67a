"""Deploys one of the further stacks of this folder, its parameters filled from the outputs of the root stack.

.venv-sam/bin/python infra/deploy_stack.py TEMPLATE STACK [--root NAME] [--root-region REGION] [NAME=value …]

A parameter that is not given takes the root stack's output or resource of the same name, or what it has now, or its
default; ``RootStack`` is the root stack's name.  Run it again to update the stack.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import boto3
from botocore.exceptions import ClientError, WaiterError

# Any: botocore makes a client's methods at run time.
Client: TypeAlias = Any

FOLDER = Path(__file__).resolve().parent
NOTHING_TO_DO = "No updates are to be performed"


def parameters(
    declared: Iterable[Mapping[str, Any]], given: Mapping[str, str], root: Mapping[str, str], present: Iterable[str]
) -> list[dict[str, Any]]:
    """Return what CloudFormation is given for each parameter of a template.

    Args:
        declared: the template's parameters, as CloudFormation's ValidateTemplate lists them.
        given: on the command line.
        root: names and outputs of the root stack.
        present: names that the stack has a value for already.

    Raises:
        SystemExit: one is unknown, or has no value; all of them are named.
    """
    known = {each["ParameterKey"]: each for each in declared}
    problems = [f"{name} is no parameter of this template" for name in given if name not in known]
    chosen: list[dict[str, Any]] = []
    for name, each in known.items():
        if name in given:
            chosen.append({"ParameterKey": name, "ParameterValue": given[name]})
        elif name in root:
            chosen.append({"ParameterKey": name, "ParameterValue": root[name]})
        elif name in present:
            chosen.append({"ParameterKey": name, "UsePreviousValue": True})
        elif "DefaultValue" not in each:
            problems.append(f"{name}=… is missing: {each.get('Description', '')}")
    if problems:
        raise SystemExit("\n".join(f"deploy_stack: {problem}" for problem in problems))
    return chosen


def deploy(client: Client, stack: str, template: str, chosen: Sequence[Mapping[str, Any]], *, is_there: bool) -> str:
    """Make or update the stack, wait for it, and return what was done."""
    arguments = {
        "StackName": stack,
        "TemplateBody": template,
        "Parameters": chosen,
        "Capabilities": ["CAPABILITY_IAM"],
    }
    if not is_there:
        client.create_stack(**arguments, OnFailure="DELETE")
        client.get_waiter("stack_create_complete").wait(StackName=stack)
        return "made"
    try:
        client.update_stack(**arguments)
    except ClientError as exc:
        if NOTHING_TO_DO in str(exc):
            return "unchanged"
        raise
    client.get_waiter("stack_update_complete").wait(StackName=stack)
    return "updated"


def described(client: Client, stack: str) -> Mapping[str, Any] | None:
    """Return what CloudFormation says of a stack, or None if there is none."""
    try:
        found: Mapping[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as exc:
        if "does not exist" in str(exc):
            return None
        raise
    return found


def outputs_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return a stack's outputs."""
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


def known_of(client: Client, name: str) -> dict[str, str]:
    """Return what the root stack offers by name: itself, its resources, and its outputs, which win.

    Raises:
        SystemExit: there is no such stack.
    """
    found = described(client, name)
    if found is None:
        raise SystemExit(f"deploy_stack: there is no stack {name}; deploy template.yaml first, or name it with --root")
    pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
    resources = {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
        for page in pages
        for each in page["StackResourceSummaries"]
    }
    return resources | outputs_of(found) | {"RootStack": name}


def main() -> None:
    """Deploy, and print the stack's outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("template", help="name of a file in this folder, such as pool.yaml")
    parser.add_argument("stack", help="name of the stack to make or update")
    parser.add_argument("--root", default="edgepost", help="name of the root stack (default: edgepost)")
    parser.add_argument("--root-region", help="region of the root stack, if it is another one")
    parser.add_argument("values", nargs="*", metavar="NAME=value")
    asked = parser.parse_intermixed_args()
    template = (FOLDER / asked.template).read_text(encoding="utf-8")
    if wrong := [each for each in asked.values if "=" not in each]:
        parser.error(f"{', '.join(wrong)}: a parameter is given as NAME=value")
    given = dict(each.split("=", 1) for each in asked.values)

    client = boto3.client("cloudformation")
    known = known_of(boto3.client("cloudformation", region_name=asked.root_region), asked.root)
    there = described(client, asked.stack)
    present = [each["ParameterKey"] for each in (there or {}).get("Parameters", [])]
    try:
        declared = client.validate_template(TemplateBody=template)["Parameters"]
        chosen = parameters(declared, given, known, present)
        done = deploy(client, asked.stack, template, chosen, is_there=there is not None)
    except (ClientError, WaiterError) as exc:
        raise SystemExit(f"deploy_stack: {asked.stack}: {exc}") from exc
    sys.stdout.write(f"{asked.stack}: {done}\n")
    for name, value in outputs_of(described(client, asked.stack) or {}).items():
        sys.stdout.write(f"  {name}  {value}\n")


if __name__ == "__main__":
    main()
