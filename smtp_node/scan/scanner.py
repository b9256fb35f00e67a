"""What every scanner is given and may answer: the port that the clients of rspamd, spamd and clamd fill."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from shared.domain.inspection import Inspection

PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedMail:
    """A mail as scanners see it."""

    content: Sequence[bytes]
    """The mail in parts, in order, so that a large one is not copied to have fields put before it."""

    mail_from: str
    """Empty for the null sender."""

    rcpt_to: Sequence[str]
    address: str = ""
    """Of the client that gave it to us; empty if there was none."""

    name: str = ""
    """In the DNS, of that address."""

    helo: str = ""
    queue_id: str = ""
    sent_by: str = ""
    """Which server of ours sends it; empty for mail that comes in."""

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return sum(map(len, self.content))

    def pieces(self) -> Iterator[memoryview]:
        """Yield it in pieces of at most ``PIECE_BYTES``, none of them copied."""
        for part in self.content:
            view = memoryview(part)
            for start in range(0, len(view), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]


class ScanFailed(Exception):
    """The scanner gave no answer that can be used; ``reason`` is a word for logs and figures."""

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(said or reason)
        self.reason = reason


UNREACHABLE = "unreachable"
GARBAGE = "garbage"
"""It answered what is no answer, too much, or not to the end."""

REFUSED = "refused"
"""It said that it would not or could not scan this."""


class Scanner(Protocol):
    """One program that looks at mail; how long it may take is kept by whoever asks."""

    @property
    def name(self) -> str:
        """For logs and figures."""
        ...

    @property
    def timeout(self) -> timedelta:
        """How long the whole of a scan may take."""
        ...

    @property
    def max_bytes(self) -> int:
        """Larger mail is not given to it."""
        ...

    async def scan(self, mail: ScannedMail) -> Inspection:
        """Return what it says of the mail, as far as it looks.

        Raises:
            ScanFailed: it gave no answer that can be used.
            OSError: it was not there, or went away.
        """
        ...
