"""Ids: numbers that sort by time, fit in a JSON number, and name a shard.

A message's name is (server id, message id) everywhere.  Clients of Postal type
ids as integers and many of them are JavaScript, so an id stays below 2**53:
milliseconds since 2025-01-01 shifted by 12 bits lasts until 2094.
"""

import random
import string
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NewType

OrganizationId = NewType("OrganizationId", int)
ServerId = NewType("ServerId", int)
CredentialId = NewType("CredentialId", int)
EndpointId = NewType("EndpointId", int)
MessageId = NewType("MessageId", int)

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
RANDOM_BITS = 12
MAX_MESSAGE_ID = 2**53
"""Every id is below it, and above 0."""

TOKEN_LETTERS = string.ascii_letters + string.digits


def draw_ids(now: datetime, count: int, rng: random.Random) -> Sequence[MessageId]:
    """Return ``count`` ids of this moment in ascending order, none twice.

    Two calls in the same millisecond may draw the same id; the conditional
    put of the message catches that.  More than 4,096 ids run into the
    following milliseconds.
    """
    per_ms = 1 << RANDOM_BITS
    millisecond = int((now - EPOCH) / timedelta(milliseconds=1))
    ids: list[MessageId] = []
    while len(ids) < count:
        some = rng.sample(range(per_ms), min(per_ms, count - len(ids)))
        ids.extend(MessageId(millisecond << RANDOM_BITS | low) for low in sorted(some))
        millisecond += 1
    return ids


def drawn_at(message_id: int) -> datetime:
    """Return the moment at which the id was drawn, to the millisecond."""
    return EPOCH + timedelta(milliseconds=message_id >> RANDOM_BITS)


def draw_owner_id(rng: random.Random) -> int:
    """Return a 31-bit id for an organization, a server or a credential; never 0."""
    return rng.randrange(1, 1 << 31)


def draw_token(rng: random.Random, length: int = 16) -> str:
    """Return random letters and digits, as Postal's message tokens and keys are.

    One draw for all of them: a system call per letter would be a tenth of accepting
    a message.  64 spare bits make every letter as likely as every other.
    """
    number = rng.getrandbits(6 * length + 64)
    letters: list[str] = []
    for _ in range(length):
        number, index = divmod(number, len(TOKEN_LETTERS))
        letters.append(TOKEN_LETTERS[index])
    return "".join(letters)
