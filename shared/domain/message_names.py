"""The Message-IDs that we make: with one recipient they name its message, so that a bounce finds it without an index.

::

    <52c1ba27-9d6f-4a0e-8d0e-6a2f3a1c9b77@rp.example.net>                   several recipients
    <52c1ba27-9d6f-4a0e-8d0e-6a2f3a1c9b77.000f3c1a5e2b41@rp.example.net>    one

The number after the dot is the message's id.  It says where to look and proves nothing;
the 122 random bits before it, compared with what the record has, are the proof.  All
recipients of one submission see the same Message-ID, so with several of them it would let
each speak for the others: then it names none.
"""

import re
import uuid
from collections.abc import Sequence

from shared.domain.ids import MAX_MESSAGE_ID, MessageId

_NAMING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([0-9a-f]{14})@")


def new_message_id(unique: uuid.UUID, ids: Sequence[MessageId], domain: str) -> str:
    """Return a Message-ID without angle brackets.

    Args:
        unique: random.
        ids: of the messages that will have it.
        domain: of this installation, where its bounces come back.
    """
    named = f".{ids[0]:014x}" if len(ids) == 1 else ""
    return f"{unique}{named}@{domain}"


def named_by_message_id(message_id: str) -> MessageId | None:
    """Return which message a Message-ID claims to be of; None if it names none.  Not proven yet."""
    found = _NAMING.match(message_id)
    number = int(found[1], 16) if found else 0
    return MessageId(number) if 0 < number < MAX_MESSAGE_ID else None
