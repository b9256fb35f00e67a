"""Header fields that whoever reads the mail believes to be ours, and which the mail brought along: they go.

Every line of the head that some reader could take for one goes, also in a head that breaks
the rules, and however long it is: a reader without our limits reads all of it.
"""

import re
from collections.abc import Iterable, Iterator

from shared.domain.headers import BLOCK_BYTES

_FOLDED_LINES = re.compile(rb"(?:[ \t][^\r\n]*+\r\n)*+")


class ForgedFields:
    """Fields of these names, in any case.

    Args:
        names: as they are written before the colon.
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        lines = rb"^(?:%s)[ \t]*+:[^\r\n]*+\r\n" % b"|".join(map(re.escape, names))
        self._pattern = re.compile(lines + _FOLDED_LINES.pattern, re.IGNORECASE | re.MULTILINE)

    def taken_out(self, raw: bytes) -> bytes:
        """Return the mail without them, the very same bytes if it has none.  Large mail: for a thread."""
        if raw.startswith(b"\r\n"):
            return raw  # no head
        end = raw.find(b"\r\n\r\n")
        end = end + 2 if end >= 0 else len(raw)
        clean = bytearray()
        for kept in self._kept(raw, end):
            clean += kept
        return raw if len(clean) == end else b"".join((clean, memoryview(raw)[end:]))

    def _kept(self, raw: bytes, end: int) -> Iterator[bytes]:
        goes_on = False  # the last piece ended within a field that goes
        for piece in _pieces(raw, end):
            folded = _FOLDED_LINES.match(piece) if goes_on else None
            at = folded.end() if folded else 0
            for forged in self._pattern.finditer(piece, at):
                yield piece[at : forged.start()]
                at = forged.end()
            yield piece[at:]
            goes_on = at == len(piece)


def _pieces(raw: bytes, end: int) -> Iterator[bytes]:
    """Yield the head in pieces of whole lines: no other thread runs during a search, and a mail may be all head."""
    start = 0
    while start < end:
        stop = raw.find(b"\r\n", start + BLOCK_BYTES, end)
        stop = stop + 2 if stop >= 0 else end
        yield raw[start:stop]
        start = stop
