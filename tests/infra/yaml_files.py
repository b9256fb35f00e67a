"""YAML as plain values, read by the Python that has a parser for it: the one of the SAM command line."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.aws.environments import environment

READ = """
import json, sys, yaml

class Loader(yaml.SafeLoader):
    pass

def short_form(loader, suffix, node):
    # CloudFormation's !Ref, !Sub and others become {"Ref": ...}, {"Fn::Sub": ...}.
    name = suffix if suffix in ("Ref", "Condition") else "Fn::" + suffix
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}

Loader.add_multi_constructor("!", short_form)
json.dump(yaml.load(sys.stdin, Loader), sys.stdout, default=str)
"""


@cache
def tools() -> Path:
    """Return where the programs of the tools' environment lie; skips the test if it cannot be made."""
    return environment("sam")


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, CloudFormation's short forms written out."""
    done = subprocess.run(
        [tools() / "python", "-c", READ], input=path.read_bytes(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{path}: {done.stderr.decode()}"
    return json.loads(done.stdout)
