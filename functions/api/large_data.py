"""Attachments and raw messages taken out of a large JSON body before it is parsed.

``"data"`` holds nearly all bytes of a large request, in base64.  Parsed the plain way it
is in memory four times: as body, as decoded text, as JSON string, as what it encodes.
Here it is decoded where it stands in the body, and JSON sees a short name in its place.
Whatever is not plain base64 under that very name is left alone.
"""

import re
from binascii import Error, a2b_base64
from collections.abc import Mapping
from io import BytesIO

LARGE_BYTES = 64 * 1024
"""Shorter values stay where they are."""

BLOCK_BYTES = 1024 * 1024

_DATA = re.compile(rb'"data"[ \t\r\n]*+:[ \t\r\n]*+"([^"]{%d,}+)"' % LARGE_BYTES)


def lift(body: bytes, mark: str) -> tuple[bytes, Mapping[str, bytes]]:
    """Return the body with names in place of large base64, and what they stand for.

    The quotes stay, so that the rest is JSON exactly if the body is.

    Args:
        body: JSON, or what claims to be.
        mark: begins each name; must be nothing that the body could hold, such as its own hash.
    """
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    contents: dict[str, bytes] = {}
    at = 0
    for found in _DATA.finditer(body):
        if found.start() and view[found.start() - 1] == ord("\\"):
            continue  # the quote is no quote: this name is the end of a longer one
        content = _decoded(view[found.start(1) : found.end(1)])
        if content is not None:
            name = f"{mark}.{len(contents)}"
            contents[name] = content
            pieces += (view[at : found.start(1)], name.encode())
            at = found.end(1)
    return b"".join((*pieces, view[at:])) if contents else b"", contents


def put_back(values: Mapping[str, object], contents: Mapping[str, bytes]) -> bool:
    """Put contents where the API looks for them; False if one of them is not at such a place."""
    attachments = values.get("attachments")
    holders = [values, *(attachments if isinstance(attachments, list) else ())]
    placed = 0
    for holder in holders:
        name = holder.get("data") if isinstance(holder, dict) else None
        if isinstance(name, str) and name in contents:
            holder["data"] = contents[name]
            placed += 1
    return placed == len(contents)


def _decoded(text: memoryview) -> bytes | None:
    """Return what the base64 encodes, or None if it is not in order; JSON's escapes of line ends and "/" are."""
    try:
        return a2b_base64(text, strict_mode=True)
    except Error:
        pass
    decoded = BytesIO()
    left, at = b"", 0
    while at < len(text):
        end = min(at + BLOCK_BYTES, len(text))
        if text[end - 1] == ord("\\"):
            end += 1
        block = bytes(text[at:end]).replace(b"\\/", b"/").replace(b"\\n", b"").replace(b"\\r", b"")
        at = end
        if left.endswith(b"=") and block:
            return None  # padding is the end
        block = left + block
        # The last group waits, so that what follows it is seen.
        whole = max(0, len(block) - 1) // 4 * 4
        left = block[whole:]
        try:
            decoded.write(a2b_base64(block[:whole], strict_mode=True))
            if at >= len(text):
                decoded.write(a2b_base64(left, strict_mode=True))
        except Error:
            return None
    return decoded.getvalue()
