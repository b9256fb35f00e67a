"""List-Unsubscribe (RFC 2369, one click by RFC 8058) and Feedback-ID, for messages that ask for them.

A message asks with ``X-Edgepost-List-Unsubscribe: yes``, a field that stays with us.
Fields that the customer wrote win: then nothing is added beside them.
"""

from dataclasses import dataclass

from shared.domain.headers import Head, split_head, without
from shared.domain.incoming import UNSUBSCRIBE_TAG
from shared.domain.letter import LIST_UNSUBSCRIBE
from shared.domain.tracking import PATHS
from shared.tokens import UNSUBSCRIBE, Named, Tokens


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """How the recipient of one message may unsubscribe.

    Args:
        tokens: sign the link.
        named: the message.
        host: serves the link; empty: there is the mail address only.
        base_url: scheme, host and port of the link.
        return_path: the message's envelope sender.
        feedback_id: for Gmail's statistics: stream, server, organization, sender.
    """

    tokens: Tokens
    named: Named
    host: str
    base_url: str
    return_path: str
    feedback_id: str

    def fields(self, head: Head) -> bytes:
        """Return the fields to add before a message with that head, each with its CRLF."""
        added = ""
        if not head.named(b"List-Unsubscribe"):
            ways = [f"<mailto:{UNSUBSCRIBE_TAG}{self.return_path}?subject=unsubscribe>"]
            if self.host:
                token = self.tokens.make(UNSUBSCRIBE, self.host, self.named)
                ways.insert(0, f"<{self.base_url}{PATHS[UNSUBSCRIBE]}{token}>")
                added += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            listed = ",\r\n ".join(ways)
            added = f"List-Unsubscribe: {listed}\r\n{added}"
        if not head.named(b"Feedback-ID"):
            added += f"Feedback-ID: {self.feedback_id}\r\n"
        return added.encode()


def feedback_id(tag: str, server: str, organization: str) -> str:
    """Return the four parts that Gmail's Feedback-ID has; only harmless characters of the tag are let through."""
    stream = "".join(char for char in tag if char.isascii() and (char.isalnum() or char in "-_."))[:50]
    return f"{stream or 'all'}:{server}:{organization}:edgepost"


def with_unsubscribing(raw: bytes, unsubscribing: Unsubscribing | None) -> bytes:
    """Return the message with what it asks for; the very same bytes if it asks for nothing.

    Raises:
        MalformedMessage: it asks, and its head cannot be split.
    """
    end = raw.find(b"\r\n\r\n")
    if LIST_UNSUBSCRIBE.lower() not in raw[: max(end, 0)].lower():
        return raw
    head = split_head(raw)
    asked = head.named(LIST_UNSUBSCRIBE)
    if not asked:
        return raw
    bare = without(raw, head, [LIST_UNSUBSCRIBE])
    wants = unsubscribing is not None and asked[-1].value.lower() in (b"yes", b"true")
    return unsubscribing.fields(head) + bare if unsubscribing is not None and wants else bare
