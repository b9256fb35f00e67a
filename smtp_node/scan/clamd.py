"""ClamAV's clamd, asked by ``INSTREAM`` (clamd(8), COMMANDS)."""

import re
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.inspection import MAX_THREAT, Inspection, plain
from shared.settings import ServiceAddress
from smtp_node.scan.conversation import conversation, whole_answer
from smtp_node.scan.scanner import GARBAGE, REFUSED, ScanFailed, ScannedMail

MAX_ANSWER_BYTES = 4096
MAX_BYTES = 100 * 1024 * 1024
"""StreamMaxLength of clamd 1.x; where it is lower clamd says so, and the mail counts as not checked."""

UNNAMED = "unnamed"

_COMMAND = b"zINSTREAM\0"
_END = b"\0\0\0\0"
_ANSWER = re.compile(rb"stream: (?:(?P<ok>OK)|(?P<threat>[^\0]*?) ?FOUND|(?P<error>[^\0]* ERROR))\0\Z")


@dataclass(frozen=True, slots=True)
class Clamd:
    """Asks one clamd about viruses."""

    address: ServiceAddress
    timeout: timedelta
    name: str = "clamd"
    max_bytes: int = MAX_BYTES

    async def scan(self, mail: ScannedMail) -> Inspection:
        """Return the threat that it found, or that there is none."""
        async with conversation(self.address) as (reader, writer):
            writer.write(_COMMAND)
            for piece in mail.pieces():
                writer.write(len(piece).to_bytes(4, "big"))
                writer.write(piece)
                await writer.drain()
            writer.write(_END)
            await writer.drain()
            return read_answer(await whole_answer(reader, MAX_ANSWER_BYTES))


def read_answer(answer: bytes) -> Inspection:
    """Return what a whole answer says.

    Raises:
        ScanFailed: it says that it could not scan, or is no answer.
    """
    found = _ANSWER.match(answer) or re.match(rb"(?P<error>[^\0]* ERROR)\0\Z", answer)
    if found is None:
        raise ScanFailed(GARBAGE, "not what clamd answers")
    said = found.groupdict()
    if said["error"] is not None:
        raise ScanFailed(REFUSED, plain(said["error"].decode("ascii", "replace"))[:200])
    if said["threat"] is None:
        return Inspection(threat="")
    # A name has bytes of whoever wrote the signature.
    return Inspection(threat=plain(said["threat"].decode("ascii", "replace"))[:MAX_THREAT] or UNNAMED)
