"""What the things of an installation are called on AWS: from the settings, else from its stack's outputs.

A function gets all names in its environment.  A node or the command line gets the stack's
name and asks CloudFormation once, at start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.adapters.aws.calls import unavailable
from shared.adapters.aws.session import Clients
from shared.adapters.aws.verdicts import SDK_ERRORS, code_of
from shared.setting_values import QUEUES
from shared.settings import PREFIX, Settings, SettingsError

_OUTPUTS = {
    "records_table": "RecordsTable",
    "bodies_table": "BodiesTable",
    "bodies_bucket": "BodiesBucket",
    "events_queue": "EventsQueue",
    "webhooks_queue": "WebhooksQueue",
    "inbound_queue": "InboundQueue",
    "work_queues": "WorkQueues",
    "secrets_path": "SecretsPath",
}
"""Output of the stack for each setting (template.yaml)."""


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that the adapters have to find."""

    records_table: str
    bodies_table: str
    bodies_bucket: str
    events_queue: str
    """URL, as those below."""

    webhooks_queue: str
    inbound_queue: str
    work_queues: Mapping[str, str]
    """By IP pool."""

    secrets_path: str


def names_of(settings: Settings, clients: Clients) -> Names:
    """Return the names; blocks if the stack has to be asked.

    Raises:
        SettingsError: a name is neither a setting nor an output; lists all such.
        StorageUnavailable: the stack cannot be asked.
    """
    # Any: each setting has a type of its own.
    found: dict[str, Any] = {name: getattr(settings, name) for name in _OUTPUTS}
    if settings.stack and not all(found.values()):
        outputs = _outputs(settings.stack, clients)
        for name, output in _OUTPUTS.items():
            found[name] = found[name] or outputs.get(output, "")
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise SettingsError([_problem(name, settings.stack) for name in missing])
    if isinstance(found["work_queues"], str):
        found["work_queues"] = QUEUES(found["work_queues"])
    return Names(**{**found, "work_queues": dict(found["work_queues"])})


def _problem(name: str, stack: str) -> str:
    needed = f"EDGEPOST_BACKEND=aws needs {PREFIX}{name.upper()}"
    if not stack:
        return f"{needed}, or give EDGEPOST_STACK"
    return f"{needed}: the stack {stack} has no output {_OUTPUTS[name]}; update it to this version's template.yaml"


def _outputs(stack: str, clients: Clients) -> Mapping[str, str]:
    try:
        answer = clients.cloudformation.describe_stacks(StackName=stack)
    except SDK_ERRORS as exc:
        if code_of(exc) == "ValidationError":
            raise SettingsError([f"EDGEPOST_STACK: there is no stack {stack} in this account and region"]) from exc
        raise unavailable("DescribeStacks", exc) from exc
    return {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0].get("Outputs", ())}
