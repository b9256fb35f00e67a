"""The ports' conditions and updates in DynamoDB's expressions.

An expired item lies there until DynamoDB gets round to deleting it, so every condition says
what it means for one: ``Absent`` holds, all others do not.  DynamoDB compares types as well as
values, as the ports do: a text is never below a number, and ``true`` is not 1.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import assert_never

from pynamodb.expressions.condition import And, Or
from pynamodb.expressions.condition import Condition as Expression
from pynamodb.expressions.operand import Path, Value
from pynamodb.expressions.update import Action

from shared.adapters.aws.attributes import (
    EXPIRES,
    PARTITION,
    STAMP,
    name_kept,
    seconds_down,
    seconds_up,
    to_attribute,
)
from shared.ports import Absent, Condition, Equals, Exists, LessThan, Update


def conditions(when: Sequence[Condition], now: datetime) -> Expression | None:
    """Return the conjunction; None if there is no condition."""
    parts = [_condition(each, now) for each in when]
    if any(not isinstance(each, Absent) for each in when):
        parts.append(not_expired(now))
    return reduce(And, parts) if parts else None


def update_conditions(when: Sequence[Condition], now: datetime) -> Expression:
    """Return the conjunction for an update, which may change a live item or make a new one.

    It must never touch an expired one: the old attributes would come back to life.
    """
    return reduce(And, [_condition(each, now) for each in when], not_expired(now))


def not_expired(now: datetime) -> Expression:
    """Hold if there is no item, or one that lives."""
    return Or(_path(EXPIRES).does_not_exist(), _path(EXPIRES) > _number(seconds_down(now)))


def actions(update: Update, stamp: bytes | None) -> list[Action]:
    """Return what the update does, the stamp included."""
    made: list[Action] = [_kept(name).set(Value(to_attribute(value))) for name, value in update.set.items()]
    made += [_kept(name).add(Value(to_attribute(amount))) for name, amount in update.add.items()]
    made += [_kept(name).remove() for name in update.remove]
    if update.expires_at is not None:
        made.append(_path(EXPIRES).set(_number(seconds_up(update.expires_at))))
    if stamp is not None:
        made.append(_path(STAMP).set(Value({"B": stamp})))
    return made


def _condition(condition: Condition, now: datetime) -> Expression:
    match condition:
        case Absent():
            return Or(_path(PARTITION).does_not_exist(), _path(EXPIRES) <= _number(seconds_down(now)))
        case Exists():
            return _path(PARTITION).exists()
        case Equals(attribute, value):
            return _kept(attribute) == Value(to_attribute(value))
        case LessThan(attribute, value):
            return _kept(attribute) < Value(to_attribute(value))
        case _:
            assert_never(condition)


def _kept(name: str) -> Path:
    return _path(name_kept(name))


def _path(name: str) -> Path:
    # As a list: a name with a dot is one name, not a path.
    return Path([name])


def _number(value: int) -> Value:
    return Value({"N": str(value)})
