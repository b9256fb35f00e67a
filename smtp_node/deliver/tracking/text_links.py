"""Links of a plain text, by position: what mail readers turn into links, and surely all of it.

A reader decides for itself where an address in running text ends.  Where readers
differ, the address is left alone: half a link is worse than an untracked one.
"""

import re
import unicodedata
from collections.abc import Iterator

_START = re.compile(r"(?<![A-Za-z0-9+.\-])https?(?:\+notrack)?://(?=[^\s<>\"])", re.IGNORECASE | re.ASCII)
_RUN = re.compile(r"[^\s<>\"\x00-\x20\x7f]+")
_ENDING = ".,;:!?"
"""Punctuation that ends the sentence around an address: no reader counts it in."""

_UNCERTAIN = "*_~'`|\\"
"""Some readers count these in at the end of an address, and some do not."""

_CLOSING = {")": "(", "]": "[", "}": "{"}
_WIDE_ENDING = frozenset("。、，．；：！？）」』】》〉”’…")  # noqa: RUF001  # these very characters
PGP = "-----BEGIN PGP "


def links_in(text: str, *, flowed_without_spaces: bool = False) -> Iterator[tuple[int, int]]:
    """Yield where each link begins and ends.

    Args:
        text: of the part; line ends of any kind.
        flowed_without_spaces: format=flowed with DelSp=yes (RFC 3676 §4.2): an address may go on
            in the next line, and one that does is left alone.
    """
    at = 0
    while (found := _START.search(text, at)) is not None:
        start = found.start()
        run = _RUN.match(text, start)
        at = run.end() if run is not None else found.end()
        if run is None:
            continue
        end = _end_of_link(text, start, run.end())
        if end <= found.end() or _is_broken(text, start, end, flowed_without_spaces=flowed_without_spaces):
            continue
        yield start, end


def _end_of_link(text: str, start: int, end: int) -> int:
    """Return where the address in a run without spaces ends; ``start`` if that is not certain."""
    for at in range(start, end) if not text[start:end].isascii() else ():
        char = text[at]
        if char in _WIDE_ENDING:
            end = at
            break
        if unicodedata.east_asian_width(char) in "WF":
            # Scripts without spaces: the sentence may go on right behind the address.
            return start
    opened = {opener: text.count(opener, start, end) for opener in _CLOSING.values()}
    closed = {closer: text.count(closer, start, end) for closer in _CLOSING}
    while end > start:
        last = text[end - 1]
        if last in _CLOSING and closed[last] > opened[_CLOSING[last]]:
            closed[last] -= 1
        elif last not in _ENDING:
            break
        end -= 1
    return start if end > start and text[end - 1] in _UNCERTAIN else end


def _is_broken(text: str, start: int, end: int, *, flowed_without_spaces: bool) -> bool:
    """Tell whether the address goes on in the next line."""
    if start and text[start - 1] == "<":
        # RFC 3986 Appendix C: between < and > line ends are to be ignored.
        return not text.startswith(">", end)
    return flowed_without_spaces and text.startswith((" \r\n", " \n"), end)
