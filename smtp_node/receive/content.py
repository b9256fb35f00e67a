"""The bytes after DATA: where they end, and what is wrong with them.

Only ``CRLF . CRLF`` ends a message (RFC 5321 §4.1.1.4).  Whatever else some
host could take for the end, such as ``LF . LF``, stays inside and makes the
whole message refused: so a second message can never be smuggled in, neither
here nor at the next host (CVE-2023-51764 and its family).
"""

from collections.abc import Iterator
from enum import Enum, auto

from shared.domain.headers import BLOCK_BYTES, MAX_HEAD_BYTES
from smtp_node.receive.gate import MemoryBudget
from smtp_node.receive.off_loop import is_quick

END = b"\r\n.\r\n"
MAX_HOPS = 50
"""Received fields of a message that is not looping (Postfix hopcount_limit)."""

MAX_OWN_HOPS = 4
"""Of these, written by ourselves (Postal: app/lib/smtp_server/client.rb)."""


class Fault(Enum):
    """Why the bytes were thrown away while they came in."""

    TOO_LARGE = auto()
    HEAD_TOO_LARGE = auto()
    NO_ROOM = auto()


class Content:
    """Collects one message from pieces of any size, in one copy.

    Pieces are searched once, each with the four bytes before it; nothing is
    done per line.
    """

    def __init__(self, limit_bytes: int, memory: MemoryBudget) -> None:
        self._limit_bytes = limit_bytes
        self._memory = memory
        self._reserved_bytes = 0
        self._buffer = bytearray()
        # DATA's own CRLF counts as the line end before a first dot (RFC 5321 §4.1.1.4).
        self._before = b"\r\n"
        self.seen_bytes = 0
        self.fault: Fault | None = None

    @property
    def held_bytes(self) -> int:
        """How many bytes are in memory because of it; 0 once they were thrown away."""
        return self._reserved_bytes

    @property
    def is_quick(self) -> bool:
        """Whether going over it is a matter of a millisecond."""
        return is_quick(self._buffer)

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece; return what came after the end, or None if that has not come.

        Must not be called again after the end.
        """
        window = self._before + piece
        at = window.find(END)
        if at < 0:
            self._before = window[-4:]
            self._add(piece)
            return None
        wanted = at + 2 - len(self._before)
        self._add(piece[: max(wanted, 0)])
        if wanted < 0 and not self.fault:
            del self._buffer[wanted:]
        return window[at + len(END) :]

    def discard(self, fault: Fault) -> None:
        """Forget everything, now and to come; the end is still found."""
        self.fault = self.fault or fault
        self._buffer = bytearray()
        self.release()

    def release(self) -> None:
        """Return the reserved memory; to be called when the message is out of our hands."""
        self._memory.give_back(self._reserved_bytes)
        self._reserved_bytes = 0

    def take(self) -> bytes:
        """Return the message, its leading dots removed (RFC 5321 §4.5.2), and forget it.

        Its memory stays reserved until ``release``.
        """
        buffer, self._buffer = self._buffer, bytearray()
        blocks = list(_unstuffed(buffer))
        del buffer
        return b"".join(blocks)

    def _add(self, piece: bytes) -> None:
        self.seen_bytes += len(piece)
        if self.fault:
            return
        # The end's own bytes may still be counted in here, so a few more are let in; ``take`` is exact.
        if self.seen_bytes > self._limit_bytes + len(END):
            self.discard(Fault.TOO_LARGE)
        elif not self._memory.take(len(piece)):
            self.discard(Fault.NO_ROOM)
        else:
            below = len(self._buffer) <= MAX_HEAD_BYTES
            self._reserved_bytes += len(piece)
            self._buffer += piece
            if below and len(self._buffer) > MAX_HEAD_BYTES and _is_head(self._buffer, MAX_HEAD_BYTES):
                self.discard(Fault.HEAD_TOO_LARGE)


def _is_head(raw: bytearray, count: int) -> bool:
    """Whether the empty line after the header is not among the first bytes."""
    return not raw.startswith(b"\r\n") and raw.find(b"\r\n\r\n", 0, count) < 0


def _unstuffed(raw: bytearray) -> Iterator[bytes]:
    """Yield the message in blocks, without the dot before each line that begins with one."""
    start = 1 if raw.startswith(b".") else 0
    while start < len(raw):
        end = start + BLOCK_BYTES
        if end < len(raw):
            # A line end belongs to the block of the dot behind it.
            line_end = raw.rfind(b"\r\n", start + 1, end + 2)
            end = line_end if line_end > 0 else end
        yield bytes(raw[start:end]).replace(b"\r\n.", b"\r\n")
        start = end


def has_longer_line(raw: bytes, limit_bytes: int) -> bool:
    """Whether a line, without its CRLF, is longer than the limit.

    Looks back from a line's furthest allowed end, so it costs one search per
    ``limit_bytes`` and not one per line.
    """
    start = 0
    while len(raw) - start > limit_bytes:
        end = raw.rfind(b"\r\n", start, start + limit_bytes + 2)
        if end < 0:
            return True
        start = end + 2
    return False


def is_looping(raw: bytes, hostname: str) -> bool:
    """Whether the message went through too many hosts, or through this one too often."""
    end = raw.find(b"\r\n\r\n")
    head = b"\r\n" + (raw if end < 0 else raw[: end + 2]).lower()
    hops = head.count(b"\r\nreceived:")
    if hops <= MAX_OWN_HOPS:
        return False
    if hops > MAX_HOPS:
        return True
    by_us = b"by " + hostname.lower().encode() + b" "
    own = sum(by_us in b" ".join(field.split()) for field in head.split(b"\r\nreceived:")[1:])
    return own > MAX_OWN_HOPS
