"""What was said in one attempt: commands and replies, never the body or a secret."""

from collections import deque

from shared.domain.replies import Reply

HEAD_BYTES = 6 * 1024
TAIL_BYTES = 2 * 1024 - 64
"""The end is what explains a failure; together with the mark between them at most 8 KB."""

LINE_BYTES = 512
LEFT_OUT = "* …"


class Conversation:
    """A bounded record; the first 6 KB and the last 2 KB are kept.

    ``C:`` is ours, ``S:`` the remote's, ``*`` a note.
    """

    def __init__(self) -> None:
        self._head: list[str] = []
        self._head_bytes = 0
        self._tail: deque[str] = deque()
        self._tail_bytes = 0
        self._left_out = False

    def command(self, shown: str) -> None:
        """Record a command as it may be shown; the caller has taken secrets out."""
        self._add(f"C: {shown}")

    def reply(self, reply: Reply) -> None:
        """Record a reply, each line with its code, as on the wire (RFC 5321 §4.2.1)."""
        lines = reply.text.split("\n")
        for line in lines[:-1]:
            self._add(f"S: {reply.code}-{line}")
        self._add(f"S: {reply.code} {lines[-1]}".rstrip())

    def note(self, sentence: str) -> None:
        """Record something that happened outside of commands and replies."""
        self._add(f"* {sentence}")

    def __str__(self) -> str:
        return "\n".join([*self._head, *([LEFT_OUT] if self._left_out else []), *self._tail])

    def _add(self, line: str) -> None:
        encoded = line.encode("utf-8", "replace")[:LINE_BYTES]
        line, size = encoded.decode("utf-8", "ignore"), len(encoded) + 1
        if not self._tail and self._head_bytes + size <= HEAD_BYTES:
            self._head.append(line)
            self._head_bytes += size
            return
        self._tail.append(line)
        self._tail_bytes += size
        while self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft().encode()) + 1
            self._left_out = True
