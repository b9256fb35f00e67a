"""Marks for one made-up message, and what they are taken back to."""

import random
import re
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from shared.domain.tracking import Tracking
from shared.tokens import CLICK, Named, Tokens, rotated
from smtp_node.deliver.tracking.rewrite import Marking

HOST = "track.example.test"
BASE = f"https://{HOST}"
NAMED = Named(12345, 678901234567)
TOKENS = Tokens(rotated(None, random.Random(9).randbytes))
EXCLUDED = frozenset({"excluded.example.com", "*.wild.example.com"})
SAMPLES = Path(__file__).parent.parent / "data" / "templates"

LINK = re.compile(rb"https://track\.example\.test/c/([A-Za-z0-9_-]+)")
PIXEL = re.compile(rb'<img src="https://track\.example\.test/o/[A-Za-z0-9_-]+"[^>]*>')
BOTH = re.compile(LINK.pattern + b"|" + PIXEL.pattern)


def marking(*, opens: bool = True, clicks: bool = True) -> Marking:
    """Return how the samples are marked."""
    return Marking(Tracking(host=HOST, opens=opens, clicks=clicks, excluded=EXCLUDED), BASE, TOKENS, NAMED)


def parts(raw: bytes) -> list[tuple[str, bytes]]:
    """Return all leaves by Python's own parser: their header without the encoding, and their decoded content."""

    def walk(part: Message) -> list[tuple[str, bytes]]:
        if part.is_multipart():
            return [leaf for inner in part.get_payload() for leaf in walk(inner)]  # type: ignore[union-attr, arg-type]
        head = [f"{name}: {value}" for name, value in part.items() if name.lower() != "content-transfer-encoding"]
        return [("\n".join(head), part.get_payload(decode=True))]  # type: ignore[list-item]

    return walk(message_from_bytes(raw))


def targets(raw: bytes) -> list[str]:
    """Return where all tracked links of a message lead, in order."""
    found = [match for _, content in parts(raw) for match in LINK.findall(content)]
    named = [TOKENS.read(CLICK, HOST, token.decode()) for token in found]
    assert all(each is not None and each[:2] == NAMED[:2] for each in named)
    return [each.target for each in named if each]
