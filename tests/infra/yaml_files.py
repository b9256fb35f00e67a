"""YAML as plain values, read by the Python that has a parser for it: the one of the SAM command line."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.architecture.sources import ROOT
from tests.e2e.programs import missing

PYTHON = ROOT / ".venv-sam/bin/python"

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


def tool(name: str) -> Path:
    """Return a program of the tools' environment; skips the test if it is not there."""
    found = PYTHON.with_name(name)
    if not found.exists():
        missing(f"{found} is not installed (make .venv-sam/.installed)")
    return found


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, CloudFormation's short forms written out."""
    done = subprocess.run(
        [tool("python"), "-c", READ], input=path.read_bytes(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{path}: {done.stderr.decode()}"
    return json.loads(done.stdout)
