"""Header fields that whoever reads the mail believes to be ours, and which the mail brought along: they go.

Every line of the head that some reader could take for one goes, also in a head that breaks the rules.
"""

import re
from collections.abc import Iterable


class ForgedFields:
    """Fields of these names, in any case.

    Args:
        names: as they are written before the colon.
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        lines = rb"^(?:%s)[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+" % b"|".join(map(re.escape, names))
        self._pattern = re.compile(lines, re.IGNORECASE | re.MULTILINE)

    def taken_out(self, raw: bytes) -> bytes:
        """Return the mail without them, the very same bytes if it has none: it may be large."""
        if raw.startswith(b"\r\n"):
            return raw  # no head
        end = raw.find(b"\r\n\r\n")
        end = end + 2 if end >= 0 else len(raw)
        clean, found = self._pattern.subn(b"", raw[:end])
        return b"".join((clean, memoryview(raw)[end:])) if found else raw
