"""The head of a mail that comes in, where a strange one must not stop anything."""

from shared.domain.errors import MalformedMessage
from shared.domain.headers import Head, split_head

MAX_MESSAGE_ID = 250


def head_of(raw: bytes) -> Head:
    """Return the head; an empty one if it cannot be split: bounces of old systems must come in all the same."""
    try:
        return split_head(raw)
    except MalformedMessage:
        return Head((), 0)


def message_id_of(head: Head) -> str:
    """Return its Message-ID without angle brackets, cut; empty if it has none."""
    return head.text(b"Message-ID").strip().strip("<>")[:MAX_MESSAGE_ID]
