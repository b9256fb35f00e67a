"""What signatures of one mail cover: its body's hashes, computed once, and its header as signed.

dkimpy takes twelve seconds and over a gigabyte for a signed mail of 24 MB, and never ends
for 20 MB of spaces; these forms are linear, and the signer shares them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from shared.domain.headers import Head, HeaderField
from smtp_node.authentication.canonical import relaxed_blocks, relaxed_header
from smtp_node.authentication.tags import without_signature

SIMPLE = "simple"
RELAXED = "relaxed"


class Digests:
    """One mail as its signatures see it."""

    def __init__(self, raw: bytes, head: Head) -> None:
        self._raw = raw
        self._head = head
        self._hashes: dict[tuple[str, int | None], bytes] = {}

    def body_hash(self, form: str, length: int | None) -> bytes:
        """Return the SHA-256 of the body in that form, of its first bytes only if a length is given."""
        found = self._hashes.get((form, length))
        if found is None:
            blocks = relaxed_blocks(self._raw, self._head.body_at) if form == RELAXED else self._simple_body()
            found = self._hashes[form, length] = _hash(blocks, length)
        return found

    def _simple_body(self) -> Iterator[bytes | memoryview]:
        """Yield the body without empty lines at its end (RFC 6376 §3.4.3), where it lies; an empty one is one CRLF."""
        start, end = self._head.body_at, len(self._raw)
        while end > start and self._raw[end - 1 : end] in (b"\r", b"\n"):
            end -= 1
        yield memoryview(self._raw)[start:end]
        yield b"\r\n"

    def signed_header(self, form: str, names: Sequence[str], own: HeaderField) -> bytes:
        """Return the bytes that a signature field signs: the named fields, then itself without its signature.

        Of a repeated field the last comes first; names without a field add nothing (RFC 6376 §5.4.2).
        """
        left: defaultdict[bytes, list[HeaderField]] = defaultdict(list)
        for each in self._head.fields:
            left[each.key].append(each)
        picked = [left[name].pop() for name in (name.lower().encode() for name in names) if left[name]]
        return b"".join(canonical(each, form) for each in picked) + unsigned(own, form)


def canonical(field: HeaderField, form: str) -> bytes:
    """Return a field in the form, with its CRLF."""
    return relaxed_header(field.key, field.raw[len(field.key) + 1 :]) if form == RELAXED else field.raw


def unsigned(field: HeaderField, form: str) -> bytes:
    """Return a signature's own field as it signs itself: without its signature and without the last CRLF."""
    at = len(field.key) + 1
    value = without_signature(field.raw[at:].removesuffix(b"\r\n"))
    if form == RELAXED:
        return relaxed_header(field.key, value).removesuffix(b"\r\n")
    return field.raw[:at] + value


def _hash(blocks: Iterable[bytes | memoryview], length: int | None) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        if length is None:
            digest.update(block)
            continue
        digest.update(block[:length])
        length -= min(length, len(block))
    return digest.digest()
