"""What signatures of one mail cover: its body's hashes, computed once, and its header as signed.

dkimpy takes twelve seconds and over a gigabyte for a signed mail of 24 MB, and never ends
for 20 MB of spaces; these forms are linear, and the signer shares them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from shared.domain.headers import Head, HeaderField
from smtp_node.authentication.canonical import relaxed_body, relaxed_header
from smtp_node.authentication.tags import without_signature

SIMPLE = "simple"
RELAXED = "relaxed"


class Digests:
    """One mail as its signatures see it."""

    def __init__(self, raw: bytes, head: Head) -> None:
        self._body = raw[head.body_at :]
        self._head = head
        self._hashes: dict[tuple[str, int | None], bytes] = {}

    def body_hash(self, form: str, length: int | None) -> bytes:
        """Return the SHA-256 of the body in that form, of its first bytes only if a length is given."""
        found = self._hashes.get((form, length))
        if found is None:
            body = relaxed_body(self._body) if form == RELAXED else _simple_body(self._body)
            found = self._hashes[form, length] = hashlib.sha256(body if length is None else body[:length]).digest()
        return found

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


def _simple_body(body: bytes) -> bytes:
    """Return the body without empty lines at its end (RFC 6376 §3.4.3); an empty one is one CRLF."""
    return body.rstrip(b"\r\n") + b"\r\n"
