"""Deletes a stack, and with ``--with-data`` the tables, the bucket and the secrets that it leaves behind.

    .venv-sam/bin/python infra/delete_stack.py edgepost-dev --with-data

Credentials, region and AWS_ENDPOINT_URL come from the environment, as for every
AWS tool.  Data of tables that are protected from deletion is not deleted, nor
their stack: that takes a deploy with DeletionProtection=false first, so that
one slip cannot lose a production system's mail.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import boto3
from botocore.exceptions import ClientError

TABLES = ("RecordsTable", "BodiesTable")
WAIT = {"Delay": 2, "MaxAttempts": 450}


def outputs_of(stack: str) -> Mapping[str, str]:
    """Return the outputs of a stack by name; empty if there is no such stack."""
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as exc:
        if "does not exist" in str(exc):
            return {}
        raise
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


def delete_stack(stack: str) -> None:
    """Delete the stack and wait until it is gone.  Twice: nothing more."""
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=stack)
    client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig=WAIT)


def protected(left: Mapping[str, str]) -> list[str]:
    """Return which tables refuse to be deleted."""
    client = boto3.client("dynamodb")
    tables = [client.describe_table(TableName=left[name])["Table"] for name in TABLES]
    return [each["TableName"] for each in tables if each.get("DeletionProtectionEnabled")]


def delete_data(left: Mapping[str, str]) -> None:
    """Delete what the stack's outputs named and the stack kept."""
    for name in TABLES:
        boto3.client("dynamodb").delete_table(TableName=left[name])
    bucket = boto3.resource("s3").Bucket(left["BodiesBucket"])
    bucket.objects.all().delete()
    bucket.delete()
    parameters = boto3.client("ssm")
    pages = parameters.get_paginator("get_parameters_by_path").paginate(Path=left["SecretsPath"], Recursive=True)
    for name in [each["Name"] for page in pages for each in page["Parameters"]]:
        parameters.delete_parameter(Name=name)


def main(arguments: Sequence[str]) -> int:
    """Delete; say what is left."""
    parser = argparse.ArgumentParser(prog="delete_stack.py", description="Deletes a stack of template.yaml.")
    parser.add_argument("stack")
    parser.add_argument("--with-data", action="store_true", help="also tables, bucket, secrets: there is no way back")
    given = parser.parse_args(arguments)
    left = outputs_of(given.stack)
    if not left:
        sys.stderr.write(f"there is no stack {given.stack}\n")
        return 1
    if given.with_data and (tables := protected(left)):
        sys.stderr.write(f"protected from deletion: {', '.join(tables)}; deploy with DeletionProtection=false first\n")
        return 1
    delete_stack(given.stack)
    kept = [left[name] for name in (*TABLES, "BodiesBucket")]
    if given.with_data:
        delete_data(left)
        sys.stdout.write(f"deleted {given.stack}, {', '.join(kept)} and the secrets below {left['SecretsPath']}\n")
    else:
        sys.stdout.write(f"deleted {given.stack}; these stay: {', '.join(kept)}, and {left['SecretsPath']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
