"""ARC seals for mail that a route passes on (RFC 8617 §5.1): what we found of it, for the host after us.

Passing mail on breaks its SPF and may break its signatures; with the chain whole and our
seal on top the next host can believe what we saw.  A chain that came broken is left as it
is: a seal of ours could not mend it.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from shared.domain.headers import Head, check_bytes, split_head
from smtp_node.authentication.canonical import relaxed_body, relaxed_header
from smtp_node.authentication.chain import MAX_SETS, RESULTS, SEAL, SIGNATURE, instance
from smtp_node.authentication.keys import SigningKey
from smtp_node.authentication.results import FIELD
from smtp_node.authentication.sign import ALGORITHM_TAGS, signed_bytes
from smtp_node.authentication.tags import BadTags

SIGNED = (
    *(b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding", b"dkim-signature"),
)
"""Signed where present, each as often as it stands there; no trace fields, which every host adds to."""

_LINE = 72
_QUOTED = re.compile(rb'"[^"]*"')
"""What a sender chose stands in quotes if it has a semicolon (``results``)."""

_ARC_PASSED = re.compile(rb"(?:^|;)\s*arc=pass\b")


def seal(raw: bytes, key: SigningKey, *, authserv_id: str, at: datetime) -> bytes:
    """Return the three fields of our set, newest first, each with its CRLF; no bytes if the mail is not to be sealed.

    Args:
        raw: the mail as it will be sent, with our Authentication-Results in its head.
        key: of the route's domain.
        authserv_id: our name in Authentication-Results.
        at: the moment of sealing.

    Raises:
        MalformedMessage: bytes or a head that would not verify after transport.
    """
    check_bytes(raw)
    head = split_head(raw)
    results = _our_results(head, authserv_id)
    count = _sets(head)
    if results is None or count is None or (count and not _ARC_PASSED.search(_QUOTED.sub(b"", results))):
        return b""
    stated = RESULTS + b": i=%d; " % (count + 1) + results + b"\r\n"
    signature = _signature(raw, head, key, count + 1, at)
    return _seal(head, (stated, signature), key, count + 1, at) + signature + stated


def _sets(head: Head) -> int | None:
    """Return how many whole sets the mail has; None if a set is not whole, or there is no room for another."""
    count = len(head.named(SEAL))
    try:
        found = [sorted(instance(field.value) for field in head.named(name)) for name in (RESULTS, SIGNATURE, SEAL)]
    except BadTags:
        return None
    return count if count < MAX_SETS and all(each == list(range(1, count + 1)) for each in found) else None


def sealing_key(keys: Sequence[SigningKey]) -> SigningKey | None:
    """Return the key to seal with: RSA if there is one, which every verifier knows."""
    return min(keys, key=lambda key: key.algorithm.value != "rsa", default=None)


def _our_results(head: Head, authserv_id: str) -> bytes | None:
    """Return the value of the field that our own checks made, which stands first; none if nothing was checked."""
    own = authserv_id.lower().encode()
    fields = [field.value for field in head.named(FIELD)]
    return next((each for each in fields if each.partition(b";")[0].strip().lower() == own), None)


def _signature(raw: bytes, head: Head, key: SigningKey, number: int, at: datetime) -> bytes:
    names: list[bytes] = []
    signed = b""
    for name in SIGNED:
        for field in reversed(head.named(name)):  # RFC 6376 §5.4.2: of a repeated one the last comes first
            names.append(name)
            signed += relaxed_header(name, field.raw[len(name) + 1 :])
    body_hash = base64.b64encode(hashlib.sha256(relaxed_body(raw[head.body_at :])).digest())
    tags = b";\r\n ".join(
        (
            b"i=%d; a=%b; c=relaxed/relaxed" % (number, ALGORITHM_TAGS[key.algorithm.value]),
            b"d=%b; s=%b; t=%d" % (key.domain.encode("ascii"), key.selector.encode("ascii"), int(at.timestamp())),
            b"h=" + b":\r\n ".join(_chunks(names)),
            b"bh=" + body_hash,
            b"b=",
        )
    )
    return _signed(SIGNATURE, tags, signed, key)


def _seal(head: Head, own: tuple[bytes, bytes], key: SigningKey, number: int, at: datetime) -> bytes:
    signed = b""
    for earlier in range(1, number):
        for name in (RESULTS, SIGNATURE, SEAL):
            found = next(each for each in head.named(name) if instance(each.value) == earlier)
            signed += relaxed_header(name, found.raw[len(name) + 1 :])
    for name, field in zip((RESULTS, SIGNATURE), own, strict=True):
        signed += relaxed_header(name, field[len(name) + 1 :])
    tags = b"i=%d; a=%b; t=%d; cv=%b;\r\n d=%b; s=%b;\r\n b=" % (
        number,
        ALGORITHM_TAGS[key.algorithm.value],
        int(at.timestamp()),
        b"none" if number == 1 else b"pass",
        key.domain.encode("ascii"),
        key.selector.encode("ascii"),
    )
    return _signed(SEAL, tags, signed, key)


def _signed(name: bytes, tags: bytes, signed: bytes, key: SigningKey) -> bytes:
    """Return the field with its signature: it counts itself with an empty ``b=`` and without its CRLF."""
    own = relaxed_header(name, tags).removesuffix(b"\r\n")
    signature = base64.b64encode(signed_bytes(key.private, signed + own))
    lines = [signature[at : at + _LINE] for at in range(0, len(signature), _LINE)]
    return name + b": " + tags + b"\r\n ".join(lines) + b"\r\n"


def _chunks(names: Sequence[bytes]) -> Sequence[bytes]:
    """Return the names joined by colons, a few in each line."""
    return [b":".join(names[at : at + 5]) for at in range(0, len(names), 5)]
