"""Whether statements of an IAM policy allow a request: the part of IAM's rules that our template uses.

Rules (IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements"):
what no statement allows is denied; a statement that denies wins; ``*`` stands for
any characters, ``:`` and ``/`` included, and ``?`` for one; actions compare
without regard to case, resources with; all conditions must hold, each for any of
its values; a condition on a key that the request does not have does not hold, except
with ``ForAllValues``.

What the template does not use (NotAction, NotResource, principals, other operators)
is refused loudly: a proof must not rest on a guess.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that somebody asks of AWS."""

    action: str
    """Such as ``dynamodb:GetItem``."""

    resource: str
    """The ARN."""

    context: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Condition keys, such as ``aws:SecureTransport``; of those with several values we only meet one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its references resolved."""

    sid: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Statement":
        """Read a statement.

        Raises:
            NotImplementedError: it has an element that this module does not know.
        """
        unknown = document.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
        if unknown:
            raise NotImplementedError(f"elements {sorted(unknown)} of {document.get('Sid')}")
        conditions = document.get("Condition", {})
        if strange := conditions.keys() - OPERATORS.keys():
            raise NotImplementedError(f"conditions {sorted(strange)} of {document.get('Sid')}")
        return cls(
            sid=document.get("Sid", ""),
            allows={"Allow": True, "Deny": False}[document["Effect"]],
            actions=_listed(document["Action"]),
            resources=_listed(document["Resource"]),
            conditions={
                operator: {key: _listed(values) for key, values in keys.items()}
                for operator, keys in conditions.items()
            },
        )

    def matches(self, request: Request) -> bool:
        """Tell whether the statement speaks of the request."""
        return (
            any(_like(pattern.lower(), request.action.lower()) for pattern in self.actions)
            and any(_like(pattern, request.resource) for pattern in self.resources)
            and all(
                _holds(operator, values, request.context.get(key))
                for operator, keys in self.conditions.items()
                for key, values in keys.items()
            )
        )

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield each action with each resource that the statement names."""
        for action in self.actions:
            for resource in self.resources:
                yield action, resource


def is_allowed(request: Request, statements: Iterable[Statement]) -> bool:
    """Tell whether the statements allow the request."""
    matching = [each for each in statements if each.matches(request)]
    return bool(matching) and all(each.allows for each in matching)


def unused(statements: Iterable[Statement], requests: Sequence[Request]) -> list[str]:
    """Name each action on a resource that a statement allows and no request needs."""
    return [
        f"{each.sid}: {action} on {resource}"
        for each in statements
        if each.allows
        for action, resource in each.pairs()
        if not any(
            _like(action.lower(), request.action.lower()) and _like(resource, request.resource) for request in requests
        )
    ]


def _like(pattern: str, text: str) -> bool:
    # IAM knows no character classes, so a bracket is a bracket.
    return re.fullmatch(translate(pattern.replace("[", "[[]")), text) is not None


def _boolean(values: Sequence[str], given: str) -> bool:
    return given.lower() in [value.lower() for value in values]


def _equal(values: Sequence[str], given: str) -> bool:
    return given in values


def _alike(values: Sequence[str], given: str) -> bool:
    return any(_like(value, given) for value in values)


FOR_ALL = "ForAllValues:"

OPERATORS = {
    "Bool": _boolean,
    "StringEquals": _equal,
    "StringLike": _alike,
    "ArnLike": _alike,
    f"{FOR_ALL}StringEquals": _equal,
}


def _holds(operator: str, values: Sequence[str], given: str | None) -> bool:
    if given is None:
        return operator.startswith(FOR_ALL)
    return OPERATORS[operator](values, given)


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
